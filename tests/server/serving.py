"""The server under test, and a recorder between it and its clients."""

import http.client
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from harness import Server

KEY = "a-key-of-the-tests-of-clients"


class Served:
    """A server with a model, reached through a recorder."""

    def __init__(self, program, model):
        self.keys = tempfile.NamedTemporaryFile("w", suffix=".keys")
        self.keys.write(f"# Keys of a test\n{KEY}\n")
        self.keys.flush()
        self.server = Server(program, model, "--ctx", 2048, "--device", "cpu", "--api-key-file", self.keys.name)
        self.direct = f"http://{self.server.host}:{self.server.port}"
        self.recorder = Recorder(self.direct)
        self.url = self.recorder.url
        self.key = KEY
        self.model = os.path.splitext(os.path.basename(model))[0]

    def close(self):
        """Ends the server as Ctrl-C does, which must leave nothing undone."""
        self.recorder.close()
        self.server.end()


class Recorder:
    """A proxy that keeps what passes: `exchanges` has (method, path, request, status, content type, answer)."""

    def __init__(self, target):
        self.exchanges = []
        exchanges, address = self.exchanges, urlsplit(target).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                connection = http.client.HTTPConnection(address, timeout=120)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                headers["Connection"] = "close"
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                whole = b""
                try:
                    while piece := response.read1(65536):
                        whole += piece
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except (BrokenPipeError, ConnectionResetError):
                    # The client has gone, and with it the server's reader.
                    self.close_connection = True
                connection.close()
                kind = response.getheader("Content-Type", "")
                exchanges.append((self.command, urlsplit(self.path).path, body, response.status, kind, whole))

            do_GET = do_POST = do_OPTIONS = pass_on

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_):
                """A client that goes away is no error of the recorder; one that gets no answer says so itself."""

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
