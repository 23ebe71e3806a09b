"""The question by id: what a zone no longer lists is asked for before it is removed."""

from __future__ import annotations

import anyio
import msgspec

from syncer.core.confirm import Answers, Question
from syncer.core.errors import ApiError, Denied, ImageNotFound, ZoneNotFound
from syncer.core.guard import Cleared
from syncer.core.model import Fault
from syncer.sync.report import fault_of
from syncer.sync.stop import Stop
from syncer.zenlayer.client import Client
from syncer.zenlayer.sources import SOURCES


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What the API said of one zone's candidates; ``fault`` says why some are unanswered."""

    answers: Answers
    fault: Fault | None
    zone_gone: bool = False


async def confirm(client: Client, cleared: Cleared, stop: Stop) -> Confirmation:
    """Ask the API by id for what a zone no longer lists. Raises Denied."""
    asking = _Asking(client, cleared)
    await stop.interruptible(asking.ask_all)
    if asking.zone_gone is not None:  # its answers say nothing of the images
        return Confirmation(answers=Answers(cleared), fault=asking.zone_gone, zone_gone=True)
    fault = asking.fault or (stop.reason if asking.answers.unanswered else None)
    return Confirmation(answers=asking.answers, fault=fault)


class _Asking:
    """The questions about one zone's candidates, all asked at once."""

    def __init__(self, client: Client, cleared: Cleared) -> None:
        self._client = client
        self._source = SOURCES[cleared.zone.service]
        self._zone_id = cleared.zone.zone_id
        self.answers = Answers(cleared)
        self.fault: Fault | None = None
        self.zone_gone: Fault | None = None

    async def ask_all(self) -> None:
        """Ask for every candidate, batch by batch."""
        async with anyio.create_task_group() as tasks:
            for image_ids in self.answers.batches():
                tasks.start_soon(self._ask, image_ids)

    async def _ask(self, image_ids: tuple[str, ...]) -> None:
        question = Question(image_ids, counted=self._source.total is not None)
        try:
            await self._read_reply(question)
        except Denied:
            raise
        except ZoneNotFound as error:
            self.zone_gone = self.zone_gone or fault_of(error)
        except ImageNotFound:
            await self._ask_one_by_one(question)
        except ApiError as error:
            self._does_not_count(question, fault_of(error))
        else:
            if not self.answers.replied(question):
                reason = question.torn or "its ids and totalCount do not agree"
                message = f"the answer by id does not count: {reason}"
                self._does_not_count(question, Fault(code="UNCONFIRMED", message=message))

    async def _read_reply(self, question: Question) -> None:
        while page := question.next_page:
            question.take(
                await self._client.images(
                    self._source,
                    self._zone_id,
                    page=page,
                    page_size=question.page_size,
                    image_ids=question.image_ids,
                )
            )

    async def _ask_one_by_one(self, question: Question) -> None:
        """One of the ids does not exist, and the API does not say which."""
        self.answers.sighted(question)
        if len(question.image_ids) == 1:
            self.answers.not_found(question.image_ids[0])
            return
        async with anyio.create_task_group() as tasks:
            for image_id in question.image_ids:
                tasks.start_soon(self._ask, (image_id,))

    def _does_not_count(self, question: Question, fault: Fault) -> None:
        self.answers.sighted(question)
        self.fault = self.fault or fault
