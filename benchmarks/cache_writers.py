"""Many processes that fill one cache at once: how many of their reads are wrong? None may be.

    python benchmarks/cache_writers.py --processes 16 --keys 1000 [--vandal]

Every process asks for every key, in an order of its own, twice, and compares what it is given with what belongs there.
With --vandal another process overwrites, cuts and swaps files all the while. Prints one line of JSON.
"""

import argparse
import json
import multiprocessing
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocaffect.cache import SUFFIX, Cache

SETTINGS = {"features": {"mfcc": {}}}


def expected(key: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(key)
    return rng.normal(size=(int(rng.integers(1, 500)), 14)).astype(np.float32)


def work(folder: Path, seed: int, num_keys: int) -> Counter[str]:
    cache, told = Cache(folder, SETTINGS), Counter[str]()
    for turn in range(2):
        for key in np.random.default_rng([seed, turn]).permutation(num_keys):
            values = cache.get(f"{key:064x}", lambda key=int(key): expected(key))
            told["wrong"] += not np.array_equal(values, expected(int(key)))
    return told + cache.counts


def vandalise(folder: Path) -> None:
    rng = np.random.default_rng(0)
    while True:
        paths = list(folder.glob(f"*/*/*{SUFFIX}"))
        if len(paths) < 2:
            continue
        one, other = (paths[i] for i in rng.choice(len(paths), 2, replace=False))
        match int(rng.integers(3)):
            case 0:
                content = bytearray(one.read_bytes())
                content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
                one.write_bytes(content)
            case 1:
                one.write_bytes(one.read_bytes()[: int(rng.integers(100))])
            case 2:
                shutil.copyfile(one, other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--vandal", action="store_true")
    given = parser.parse_args()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vandal = context.Process(target=vandalise, args=(folder,), daemon=True)
        if given.vandal:
            vandal.start()
        with context.Pool(given.processes) as pool:
            jobs = [(folder, seed, given.keys) for seed in range(given.processes)]
            told = sum(pool.starmap(work, jobs, chunksize=1), Counter[str]())
        if given.vandal:
            vandal.kill()
            vandal.join()
    print(json.dumps({"processes": given.processes, "keys": given.keys, "wrong": 0, **told}))


if __name__ == "__main__":
    main()
