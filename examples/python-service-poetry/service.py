"""A service that seals texts: /seal/TEXT gives the first half of its SHA-256."""

import hashlib
import signal
import sys

import flask
import waitress

app = flask.Flask("service")


@app.get("/seal/<text>")
def seal(text):
    return {"text": text, "seal": hashlib.sha256(text.encode()).hexdigest()[:16]}


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    waitress.serve(app, listen="*:8080")
