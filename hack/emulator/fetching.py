"""Files that Meta fetches itself: one-time uploads with `url`.

The fetch happens some seconds after the call was answered, so it is due at an instant like everything else. What
fetches is injected: in tests a function, over HTTP a client that reaches the loopback interface only.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from hack.emulator import jsons
from hack.emulator.bodies import whole_file
from hack.emulator.documented import Provenance, behaviour
from hack.emulator.effects import Effects
from hack.emulator.journal import Journal
from hack.emulator.messages import GraphError
from hack.emulator.routing import Mischief
from hack.emulator.sections.catalog import feed_files, feed_uploads
from hack.emulator.sections.catalog.feed_files import FileProblem
from hack.emulator.world import Session, World

behaviour(
    "upload.fetch",
    page="Product Feed Uploads",
    section="Creating",
    provenance=Provenance.DOCUMENTED,
    says="with url Meta fetches the file later, with basic authentication where username and password were given",
)


@dataclass(frozen=True, slots=True)
class Fetched:
    status: int
    content: bytes


Fetcher: TypeAlias = "Callable[[str, str, str], Awaitable[Fetched]]"  # url, username, password


async def no_fetcher(url: str, username: str, password: str) -> Fetched:
    """Nothing can be reached."""
    del url, username, password
    return Fetched(0, b"")


def due(world: World, now: float) -> list[Session]:
    """Sessions whose file is due, in the order of their ids; each is named once."""
    found = [world.sessions[one] for one in sorted(world.awaited) if world.sessions[one].starts <= now]
    world.awaited.difference_update(session.id for session in found)
    return found


async def fetch(fetcher: Fetcher, session: Session) -> Fetched:
    username, password = session.login or ("", "")
    return await fetcher(session.url, username, password)


def arrive(world: World, effects: Effects, journal: Journal, session: Session, fetched: Fetched, now: float) -> None:
    """The file is there, or is known not to come."""
    if not session.fetch:
        return  # its feed was deleted meanwhile
    session.fetch = False
    session.starts = session.ends = now
    try:
        file = whole_file(session.url.rsplit("/", 1)[-1], _content(fetched))
        container = feed_files.container_of(file)
    except (FileProblem, GraphError) as error:
        problem = error if isinstance(error, FileProblem) else FileProblem("Unsupported file", error.message)
        feed_uploads.fail(world, effects, journal, session, problem, now)
        return
    feed_uploads.ingest(world, effects, journal, session, file, container=container, mischief=_mischief(session))


def _mischief(session: Session) -> Mischief:
    """The faults that struck the call; by now it is as late as it should be."""
    return Mischief(
        stuck=session.mischief.get("stuck") is True,
        failure=jsons.as_text(session.mischief.get("failure")),
        no_effects=session.mischief.get("no_effects") is True,
    )


def _content(fetched: Fetched) -> bytes:
    if fetched.status == HTTPStatus.OK:
        return fetched.content
    words = f"The server answered with status {fetched.status}." if fetched.status else "The server can't be reached."
    raise FileProblem("We couldn't download your data feed", words)
