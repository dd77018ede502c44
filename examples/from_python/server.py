"""A small site on the loopback interface: pages that link to each other, some of them missing."""

import socket
import threading
import time

PAGES = 300
DELAY = 0.005  # seconds that a page takes


def page(path):
    """The body of a page; None if there is none."""
    number = path.removeprefix("/page/") if path != "/" else "0"
    if not number.isdecimal() or int(number) >= PAGES or int(number) % 17 == 13:
        return None
    n = int(number)
    links = {(7 * n + 1) % PAGES, (13 * n + 5) % PAGES, (2 * n + 1) % PAGES, (n * n) % PAGES}
    body = "".join(f'<a href="/page/{link}">{link}</a>\n' for link in sorted(links))
    return f"<h1>Page {n}</h1>\n{body}{'All work and no play. ' * (n % 50)}\n".encode()


def serve(connection):
    with connection:
        request = connection.makefile("rb")
        path = request.readline().split(b" ")[1].decode()
        while request.readline().strip():
            pass
        time.sleep(DELAY)
        body = page(path)
        status = "404 Not Found" if body is None else "200 OK"
        body = body or b""
        head = f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)


def start():
    """Serves in the background until the process ends; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return "http://127.0.0.1:%d" % listener.getsockname()[1]
