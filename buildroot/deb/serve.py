#!/usr/bin/env python3
"""Serves a directory by HTTPS on a free port, which it prints. Below /broken each answer ends after its first kilobyte.

Usage: serve.py DIRECTORY CERTIFICATE KEY
"""
import functools
import http.server
import ssl
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.broken = self.path.startswith("/broken/")
        self.path = self.path.removeprefix("/broken")
        super().do_GET()

    def copyfile(self, source, outputfile):
        if self.broken:
            outputfile.write(source.read(1024))
            self.close_connection = True
        else:
            super().copyfile(source, outputfile)


directory, certificate, key = sys.argv[1:]
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
