"""The question by id: what a zone no longer lists is asked for before it is removed.

What is asked, in which order, and what counts, is ``core.confirm``'s; here the calls are made.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import msgspec

from syncer.core.confirm import Answers, Inquiry, Question
from syncer.core.errors import ApiError, Denied
from syncer.core.guard import Cleared
from syncer.core.model import Fault, ZoneRef
from syncer.sync.stop import Stop
from syncer.sync.zones import refuses_a_zone
from syncer.zenlayer.client import Client
from syncer.zenlayer.sources import SOURCES


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What the API said of one zone's candidates; ``fault`` says why some are unanswered."""

    answers: Answers
    fault: Fault | None
    zone_gone: bool = False


async def confirm(
    client: Client, cleared: Cleared, stop: Stop, *, is_listed: bool = True
) -> Confirmation:
    """Ask the API by id for what a zone no longer lists.

    Raises Denied, but for a refusal of a zone that is not listed: that is the zone's.
    """
    source = SOURCES[cleared.zone.service]
    inquiry = Inquiry(
        cleared, counted=source.total is not None, paged=source.paged, zoned=source.zoned
    )
    ask = partial(_ask, client, cleared.zone, inquiry, is_listed=is_listed)
    done = await stop.interruptible(partial(_ask_all, inquiry, ask))
    if inquiry.zone_gone is not None:  # its answers say nothing of the images
        return Confirmation(answers=Answers(cleared), fault=inquiry.zone_gone, zone_gone=True)
    fault = inquiry.fault()
    if not done and inquiry.answers.unanswered:
        fault = stop.reason
    return Confirmation(answers=inquiry.answers, fault=fault)


async def _ask_all(inquiry: Inquiry, ask: Callable[[Question], Coroutine[Any, Any, None]]) -> None:
    """Ask what there is to ask; questions that do not depend on each other side by side."""
    while questions := inquiry.questions():
        async with anyio.create_task_group() as tasks:
            for question in questions:
                tasks.start_soon(ask, question)


async def _ask(
    client: Client, zone: ZoneRef, inquiry: Inquiry, question: Question, *, is_listed: bool
) -> None:
    try:
        while (page := question.next_page) and inquiry.may_call():
            question.take(
                await client.images(
                    SOURCES[zone.service],
                    zone.zone_id,
                    page=page,
                    page_size=question.page_size,
                    image_ids=question.asked_for,
                )
            )
    except ApiError as error:
        if isinstance(error, Denied) and (is_listed or not refuses_a_zone(error)):
            raise
        inquiry.take(question, error)
    else:
        inquiry.take(question)
