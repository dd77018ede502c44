"""A web crawler: follows all links of a site from its first page, each page once."""

import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

WORKERS = 8
LINK = re.compile(rb'href="(/[^"]*)"')


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as conn:
        return conn.read()


def crawl(site):
    seen = {"/"}
    pages, size, broken = 0, 0, []
    with ThreadPoolExecutor(WORKERS) as pool:
        frontier = {pool.submit(fetch, site + "/"): "/"}
        while frontier:
            done, _ = wait(frontier, return_when=FIRST_COMPLETED)
            for future in done:
                path = frontier.pop(future)
                try:
                    page = future.result()
                except urllib.error.HTTPError as error:
                    broken.append(f"{path}: {error}")
                    continue
                pages += 1
                size += len(page)
                for link in LINK.findall(page):
                    link = link.decode()
                    if link not in seen:
                        seen.add(link)
                        frontier[pool.submit(fetch, site + link)] = link
    return pages, size, broken


if __name__ == "__main__":
    pages, size, broken = crawl(sys.argv[1])
    print(f"{pages} pages, {size} bytes")
    for line in sorted(broken):
        print(line)
