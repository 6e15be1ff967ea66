"""What modules answered, kept in the store.

A mapping from questions to (second they were asked, answer).
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from stixbridge.store.codec import pack, unpack
from stixbridge.store.database import Database
from stixbridge.store.statements import UPSERT_ANSWER


class Answers(MutableMapping[str, tuple[int, Any]]):
    """The table of answers.

    Args (of the constructor):
        database: the database with the table.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getitem__(self, question: str) -> tuple[int, Any]:
        rows = self._database.rows(
            "SELECT asked, body FROM answers WHERE question = :question", question=question
        )
        if not rows:
            raise KeyError(question)
        return rows[0]["asked"], unpack(rows[0]["body"])

    def __setitem__(self, question: str, answer: tuple[int, Any]) -> None:
        self._database.execute(
            UPSERT_ANSWER, question=question, asked=answer[0], body=pack(answer[1])
        )

    def __delitem__(self, question: str) -> None:
        self._database.execute("DELETE FROM answers WHERE question = :question", question=question)

    def __iter__(self) -> Iterator[str]:
        return iter(
            [
                row["question"]
                for row in self._database.rows("SELECT question FROM answers ORDER BY question")
            ]
        )

    def __len__(self) -> int:
        return int(self._database.rows("SELECT count(*) AS number FROM answers")[0]["number"])
