"""Feeds as the site knows them beside their files: what an operator applied last, and what the node has taken up.

The file is the truth; this table is how a command tells a running node of it, and how the node answers. `wanted` is the
revision that was applied, `runs` the one that the node took up, `fault` why it could not.
Source: operations chapter §4.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from adapter.store.engine import Hot


@dataclass(frozen=True, slots=True)
class FeedRun:
    """One feed. `text` is the file of what runs; `at` when that was taken up, in milliseconds."""

    feed: str
    wanted: str
    wanted_at: int
    who: str
    git: str
    ref: str
    runs: str
    state: str
    fault: str
    text: str
    at: int


_COLUMNS = "feed, wanted, wanted_at, who, git, ref, runs, state, fault, text, at"


def want(conn: Connection, org: str, feed: str, revision: str, at: int, who: str, git: str, ref: str) -> None:
    """An operator applied this revision; a running node takes it up."""
    sql = """
        INSERT INTO feed_run(org, feed, wanted, wanted_at, who, git, ref, runs, state, fault, text, at)
        VALUES (?, ?, ?, ?, ?, ?, ?, '', '', '', '', 0)
        ON CONFLICT(org, feed) DO UPDATE SET wanted = excluded.wanted, who = excluded.who, git = excluded.git,
          wanted_at = max(excluded.wanted_at, feed_run.wanted_at + 1), ref = excluded.ref, fault = ''
    """
    Hot(conn).run(sql, (org, feed, revision, at, who, git, ref))


def took_up(conn: Connection, org: str, feed: str, revision: str, state: str, text: str, at: int) -> None:
    """The node runs this revision now; an empty one: it runs none."""
    sql = """
        INSERT INTO feed_run(org, feed, wanted, wanted_at, who, git, ref, runs, state, fault, text, at)
        VALUES (?, ?, '', 0, '', '', '', ?, ?, '', ?, ?)
        ON CONFLICT(org, feed) DO UPDATE SET runs = excluded.runs, state = excluded.state, fault = '',
          text = excluded.text, at = excluded.at
    """
    Hot(conn).run(sql, (org, feed, revision, state, text, at))


def failed(conn: Connection, org: str, feed: str, fault: str) -> None:
    """The node could not take up what is wanted, and goes on with what ran."""
    Hot(conn).run("UPDATE feed_run SET fault = ? WHERE org = ? AND feed = ?", (fault, org, feed))


def every(conn: Connection, org: str) -> dict[str, FeedRun]:
    """All feeds that anybody ever applied or ran, by name."""
    sql = f"SELECT {_COLUMNS} FROM feed_run WHERE org = ? ORDER BY feed"  # noqa: S608
    return {row[0]: FeedRun(*row) for row in Hot(conn).all(sql, (org,))}


def wishes(conn: Connection, org: str) -> dict[str, int]:
    """When each feed was applied last: what a node compares, again and again."""
    return {row[0]: row[1] for row in Hot(conn).all("SELECT feed, wanted_at FROM feed_run WHERE org = ?", (org,))}
