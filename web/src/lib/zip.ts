/** A ZIP archive without compression (PKWARE APPNOTE 6.3.3, sections 4.3.7, 4.3.12 and 4.3.16). */

export interface Entry {
  /** With forward slashes; UTF-8. */
  name: string;
  bytes: Uint8Array;
}

/** 1980-01-01 as DOS date: the archive says nothing about when it was made. */
const DATE = 0x21;
const UTF8_NAMES = 0x800;

export function zip(entries: Entry[]): Blob {
  const files: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const { name, bytes } of entries) {
    const text = new TextEncoder().encode(name);
    const common = words([20, 2], [UTF8_NAMES, 2], [0, 2], [0, 2], [DATE, 2], [crc32(bytes), 4]);
    const sizes = words([bytes.length, 4], [bytes.length, 4], [text.length, 2], [0, 2]);
    const local = [words([0x04034b50, 4]), common, sizes, text, bytes.slice()];
    directory.push(words([0x02014b50, 4], [20, 2]), common, sizes);
    directory.push(words([0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), text);
    files.push(...local);
    offset += local.reduce((sum, part) => sum + part.length, 0);
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = entries.length;
  const end = words([0x06054b50, 4], [0, 4], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2]);
  return new Blob([...files, ...directory, end], { type: "application/zip" });
}

/** CRC-32 as ZIP, gzip and PNG use it (ISO 3309, reflected polynomial 0xEDB88320). */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** Little-endian numbers of two or four bytes, one after the other. */
function words(...numbers: [value: number, size: 2 | 4][]): Uint8Array<ArrayBuffer> {
  const bytes = numbers.flatMap(([value, size]) =>
    Array.from({ length: size }, (_, index) => (value >>> (8 * index)) & 0xff),
  );
  return Uint8Array.from(bytes);
}
