"""Skills that ask a model, as users write them: async, in a thread, in a process."""

import threading
from typing import Any

from opentelemetry import trace
from pydantic import BaseModel

from seedcore.errors import SkillError
from seedcore.skills import SkillContext, skill


class Question(BaseModel):
    value: Any = None


class Answer(BaseModel):
    text: str
    trace: str = ""


@skill("test.ask", organ="test")
async def ask(params: Question, context: SkillContext) -> Answer:
    with context.span("read the question", length=len(str(params.value)), note="password=hunter2") as span:
        span.set(words=1)
    async with context.model_call("openai", "small-1", operation="chat") as call:
        call.used(input_tokens=12, output_tokens=5, money=0.25)
    with trace.get_tracer("acme").start_as_current_span("a span of the skill's own"):
        pass
    context.logger.info("answered")
    return Answer(text="yes")


@skill("test.ask_in_thread", organ="test")
def ask_in_thread(params: Question, context: SkillContext) -> Answer:
    with context.model_call("openai", "small-1") as call:
        call.used(input_tokens=1, output_tokens=2)

    def look() -> None:
        with context.span("in a thread of its own"):
            pass

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return Answer(text="yes")


@skill("test.ask_in_process", organ="test", process=True)
def ask_in_process(params: Question, context: SkillContext) -> Answer:
    with context.model_call("openai", "small-1") as call:
        call.used(input_tokens=3, output_tokens=4, money=0.5)
    with trace.get_tracer("acme").start_as_current_span("a span of the skill's own"):
        pass
    current = trace.get_current_span().get_span_context()
    return Answer(text="yes", trace=f"{current.trace_id:032x}")


@skill("test.break", organ="test")
async def break_(params: Question, context: SkillContext) -> Answer:
    async with context.model_call("openai", "small-1"):
        raise SkillError("no answer from https://user:hunter2@models", retryable=params.value == "again")
