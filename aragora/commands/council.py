"""The council as tools and resources of the Model Context Protocol, whose library this module needs."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field

from aragora.client import Client, Row
from aragora.debate.limits import DEBATES_PAGE, LONGEST_CONTEXT, MOST_ROUNDS, ROUNDS_DEFAULT
from aragora.debate.narration import described
from aragora.errors import AragoraError

INSTRUCTIONS = (
    "Several language models argue a question to a decision. Ask the council where a question has more than one "
    "defensible answer and being wrong is costly; it takes minutes. Debates are kept and can be read later."
)
Result = TypeVar("Result")


class Verdict(BaseModel):
    """What a debate came to."""

    debate_id: str
    status: str = Field(description="`completed`, or why there may be no answer: failed, timeout, cancelled.")
    answer: str | None
    consensus_reached: bool
    confidence: float
    summary: str = Field(description="Whose answer it is, and by how many votes; or why there is none.")

    @classmethod
    def of(cls, debate: Row) -> "Verdict":
        """The verdict of a debate as the server shows it."""
        verdict = debate.get("verdict") or {}
        return cls(
            debate_id=debate["id"],
            status=debate["status"],
            answer=debate["final_answer"],
            consensus_reached=debate["consensus_reached"],
            confidence=debate["confidence"],
            summary=verdict.get("summary") or debate.get("reason") or "",
        )


class Listed(BaseModel):
    """One debate of a list."""

    debate_id: str
    title: str
    status: str
    created_at: str


class Council:
    """The service, for tools that wait on an event loop; `connect` makes a client, which belongs to one thread."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect

    async def ask(self, body: Row, progress: Callable[[int, str], Any]) -> Verdict:
        """A debate's verdict; `progress` is awaited with the number and the words of each event.

        A caller that gives up waiting ends the debate.
        """
        debate_id = (await self._call(lambda client: client.create(body)))["debate_id"]

        def follow(client: Client) -> Row:
            for event in client.watch(debate_id):
                heading = described(event)[0]
                if "seq" in event and heading:
                    anyio.from_thread.run(progress, event["seq"], heading)
            return client.debate(debate_id)

        try:
            return Verdict.of(await self._call(follow))
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._call(lambda client: client.cancel(debate_id))
            raise

    async def read(self, debate_id: str) -> str:
        """The whole debate as Markdown."""
        return (await self._call(lambda client: client.export(debate_id, "md", "argument"))).decode()

    async def find(self, words: str | None, limit: int) -> list[Listed]:
        """Debates, newest first."""
        page = await self._call(lambda client: client.page(q=words or None, limit=limit))
        return [
            Listed(debate_id=row["id"], title=row["title"], status=row["status"], created_at=row["created_at"])
            for row in page["debates"]
        ]

    async def _call(self, use: Callable[[Client], Result]) -> Result:
        """What `use` makes of a client, in a thread; raises `ToolError` with our words where the service refuses."""

        def with_client() -> Result:
            with self._connect() as client:
                return use(client)

        try:
            return await anyio.to_thread.run_sync(with_client, abandon_on_cancel=True)
        except AragoraError as error:
            raise ToolError(error.message) from None


def server(council: Council) -> MCPServer:
    """The tools and resources of the council."""
    serving = MCPServer("aragora", title="Aragora", instructions=INSTRUCTIONS)

    @serving.tool(title="Ask the council")
    async def ask_council(
        question: Annotated[str, Field(description="What is argued, 5 to 2000 characters.")],
        ctx: Context,
        context: Annotated[
            str, Field(description=f"What the agents should know, up to {LONGEST_CONTEXT} characters.")
        ] = "",
        agents: Annotated[
            list[str] | None, Field(description="Names of 2 to 10 agents; default: all that can run.")
        ] = None,
        rounds: Annotated[int, Field(ge=1, le=MOST_ROUNDS, description="Rounds of criticism.")] = ROUNDS_DEFAULT,
    ) -> Verdict:
        """Let several language models argue a question to a decision. It takes minutes, and costs what they cost."""
        body: Row = {"question": question, "context": context, "rounds": rounds}
        if agents is not None:
            body["agents"] = agents
        return await council.ask(body, lambda number, heading: ctx.report_progress(number, None, heading))

    @serving.tool(title="Read a debate")
    async def read_debate(debate_id: str) -> str:
        """Everything that was said in a debate, with its verdict, as Markdown."""
        return await council.read(debate_id)

    @serving.tool(title="Find debates")
    async def find_debates(
        words: Annotated[str | None, Field(description="Words of question, title or answer.")] = None,
        limit: Annotated[int, Field(ge=1, le=DEBATES_PAGE)] = 20,
    ) -> list[Listed]:
        """Debates of before, newest first."""
        return await council.find(words, limit)

    @serving.resource("debate://{debate_id}", title="A debate", mime_type="text/markdown")
    async def debate(debate_id: str) -> str:
        """A debate as Markdown."""
        return await council.read(debate_id)

    return serving
