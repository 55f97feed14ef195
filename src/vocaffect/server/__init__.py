"""The live application: recognition over HTTP and WebSocket, and the page that uses it."""
