"""`aragora mcp`, asked by the protocol's own client over standard input and over HTTP."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.aragora.server.servers import QUESTION, Server, running
from tests.ports import ports
from tests.waiting import until

COMMAND = [sys.executable, "-m", "aragora", "mcp"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service that the assistant's council sits on."""
    with running("uvicorn", tmp_path_factory.mktemp("council"), ARAGORA_API_TOKEN="first-token") as started:
        started.http.headers["Authorization"] = "Bearer first-token"
        yield started


def environ_of(server: Server, token: str = "first-token") -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARAGORA_")}
    return kept | {"ARAGORA_URL": server.base, "ARAGORA_API_TOKEN": token}


def converse(server: Server, talk: Callable[[Client], Awaitable[None]], **environ: str) -> None:
    """`talk` with `aragora mcp` over its standard input and output."""

    async def connected() -> None:
        parameters = StdioServerParameters(
            command=COMMAND[0], args=COMMAND[1:], env=environ_of(server) | environ, cwd=Path.cwd()
        )
        async with Client(stdio_client(parameters)) as client:
            await talk(client)

    asyncio.run(asyncio.wait_for(connected(), 60))


async def ask(client: Client, **more: Any) -> Any:
    given = {"question": QUESTION, "agents": ["demo", "demo"], "rounds": 1, **more}
    seen: list[str] = []

    async def progress(_number: float, _total: float | None, message: str | None) -> None:
        seen.append(message or "")

    result = await client.call_tool("ask_council", given, progress_callback=progress)
    assert not result.is_error, result
    assert any(message.startswith("demo-1 votes for") for message in seen)
    return result.structured_content


def test_a_council_is_asked_and_its_debate_read(server: Server) -> None:
    async def talk(client: Client) -> None:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"ask_council", "read_debate", "find_debates"}
        verdict = await ask(client)
        assert (verdict["status"], bool(verdict["answer"])) == ("completed", True)
        debate_id = verdict["debate_id"]
        assert server.get(f"/api/debates/{debate_id}").json()["final_answer"] == verdict["answer"]
        read = await client.call_tool("read_debate", {"debate_id": debate_id})
        assert QUESTION in read.content[0].text
        (resource,) = (await client.read_resource(f"debate://{debate_id}")).contents
        assert resource.text == read.content[0].text
        found = await client.call_tool("find_debates", {"words": "event sourcing", "limit": 1})
        assert found.structured_content["result"][0]["debate_id"] == debate_id

    converse(server, talk)


def test_what_the_service_refuses_is_told_in_its_words(server: Server) -> None:
    async def talk(client: Client) -> None:
        for tool, given, said in (
            ("ask_council", {"question": "Why?"}, "question: at least 5 characters"),
            ("ask_council", {"question": QUESTION, "agents": ["nobody", "demo"]}, "nobody"),
            ("read_debate", {"debate_id": "adhoc_none"}, "404 not_found"),
        ):
            result = await client.call_tool(tool, given)
            assert result.is_error
            assert said in result.content[0].text

    converse(server, talk)

    async def locked_out(client: Client) -> None:
        result = await client.call_tool("find_debates", {})
        assert result.is_error
        assert "401" in result.content[0].text

    converse(server, locked_out, ARAGORA_API_TOKEN="a-wrong-one")


def test_giving_up_ends_the_debate(server: Server) -> None:
    async def talk(client: Client) -> None:
        given = {"question": QUESTION, "agents": ["demo"] * 10, "rounds": 10, "context": "given up"}
        with suppress(TimeoutError):
            await asyncio.wait_for(client.call_tool("ask_council", given), 2)
        (row, *_) = server.get("/api/debates").json()["debates"]
        assert row["context"] == "given up"
        address = f"/api/debates/{row['id']}"
        await asyncio.to_thread(until, lambda: server.get(address).json()["status"] == "cancelled")

    converse(server, talk)


def test_streamable_http_serves_the_same_on_loopback(server: Server) -> None:
    (port,) = ports(1)
    serving = subprocess.Popen([*COMMAND, "--http", f"127.0.0.1:{port}"], env=environ_of(server))
    try:
        address = f"http://127.0.0.1:{port}/mcp"

        async def talk() -> Any:
            async with Client(address) as client:
                return await ask(client)

        def answered() -> Any:
            with suppress(Exception):
                return asyncio.run(asyncio.wait_for(talk(), 60))
            return None

        assert until(answered)["status"] == "completed"
    finally:
        serving.terminate()
        serving.wait(20)


@pytest.mark.parametrize("address", ["0.0.0.0:8800", "example.org:80", "127.0.0.1", "127.0.0.1:http"])
def test_other_addresses_than_loopback_are_refused(address: str) -> None:
    refused = subprocess.run([*COMMAND, "--http", address], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "write 127.0.0.1:PORT" in refused.stderr
