"""The question by id: what a zone no longer lists is asked for before it is removed."""

from __future__ import annotations

import anyio
import msgspec

from syncer.core.confirm import Answers, Question
from syncer.core.errors import ApiError, Denied, ImageNotFound, ZoneNotFound
from syncer.core.guard import Cleared
from syncer.core.model import Fault
from syncer.sync.stop import Stop
from syncer.sync.zones import _fault
from syncer.zenlayer.client import Client
from syncer.zenlayer.sources import SOURCES


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What the API said of one zone's candidates; ``fault`` says why some are unanswered."""

    answers: Answers
    fault: Fault | None
    zone_gone: bool = False


async def confirm(client: Client, cleared: Cleared, stop: Stop) -> Confirmation:
    """Ask the API by id for what a zone no longer lists. Raises Denied."""
    source = SOURCES[cleared.zone.service]
    answers = Answers(cleared)
    faults: list[Fault] = []
    gone: list[Fault] = []

    async def ask(image_ids: tuple[str, ...]) -> None:
        question = Question(image_ids, counted=source.total is not None)
        try:
            while page := question.next_page:
                question.take(
                    await client.images(
                        source,
                        cleared.zone.zone_id,
                        page=page,
                        page_size=question.page_size,
                        image_ids=image_ids,
                    )
                )
        except Denied:
            raise
        except ZoneNotFound as error:
            gone.append(_fault(error))
        except ImageNotFound:
            answers.sighted(question)
            if len(image_ids) == 1:
                answers.not_found(image_ids[0])
                return
            async with anyio.create_task_group() as tasks:
                for image_id in image_ids:
                    tasks.start_soon(ask, (image_id,))
        except ApiError as error:
            answers.sighted(question)
            faults.append(_fault(error))
        else:
            if not answers.replied(question):
                answers.sighted(question)
                reason = question.torn or "its ids and totalCount do not agree"
                faults.append(
                    Fault(code="UNCONFIRMED", message=f"the answer by id does not count: {reason}")
                )

    async def ask_all() -> None:
        async with anyio.create_task_group() as tasks:
            for image_ids in answers.batches():
                tasks.start_soon(ask, image_ids)

    await stop.guard(ask_all)
    if gone:
        return Confirmation(answers=Answers(cleared), fault=gone[0], zone_gone=True)
    fault = faults[0] if faults else stop.reason if answers.unanswered else None
    return Confirmation(answers=answers, fault=fault)
