from flask import Flask, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
# One proxy in front, trusted for the client's address, scheme, host and prefix.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)


@app.get("/")
def home():
    return {"url": url_for("home", _external=True), "client": request.remote_addr}
