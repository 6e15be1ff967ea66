"""What modules answered, kept in the store: a mapping from questions to (second they were asked, answer)."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from stixbridge.store.codec import pack, unpack
from stixbridge.store.statements import UPSERT_ANSWER

if TYPE_CHECKING:
    from stixbridge.store.store import Store


class Answers(MutableMapping[str, tuple[int, Any]]):
    """The table of answers.

    Args (of the constructor):
        store: that has it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, question: str) -> tuple[int, Any]:
        rows = self._store.query(
            "SELECT asked, body FROM answers WHERE question = :question", question=question
        )
        if not rows:
            raise KeyError(question)
        return rows[0]["asked"], unpack(rows[0]["body"])

    def __setitem__(self, question: str, answer: tuple[int, Any]) -> None:
        self._store.execute(UPSERT_ANSWER, question=question, asked=answer[0], body=pack(answer[1]))

    def __delitem__(self, question: str) -> None:
        self._store.execute("DELETE FROM answers WHERE question = :question", question=question)

    def __iter__(self) -> Iterator[str]:
        return iter(
            [
                row["question"]
                for row in self._store.query("SELECT question FROM answers ORDER BY question")
            ]
        )

    def __len__(self) -> int:
        return int(self._store.query("SELECT count(*) AS number FROM answers")[0]["number"])
