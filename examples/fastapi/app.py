from fastapi import FastAPI, Request, WebSocket

app = FastAPI()


@app.get("/")
def home(request: Request):
    return {"url": str(request.url_for("home")), "client": request.client.host}


@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()
