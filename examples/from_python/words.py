"""A text pipeline: reads files, splits them into words, counts these on processes, merges, ranks."""

import pathlib
import re
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

WORD = re.compile(r"[a-z]+")


def count(path):
    text = path.read_text(encoding="ascii", errors="replace").lower()
    return Counter(word for word in WORD.findall(text) if len(word) > 3)


def main():
    files = sorted(pathlib.Path(sys.argv[1]).rglob("*.txt"))
    total = Counter()
    with ProcessPoolExecutor() as pool:
        for words in pool.map(count, files, chunksize=4):
            total.update(words)
    print(f"{total.total()} words, {len(total)} different, in {len(files)} files")
    for word, n in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:10]:
        print(f"{n:>8} {word}")


if __name__ == "__main__":
    main()
