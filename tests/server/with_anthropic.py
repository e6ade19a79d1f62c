"""The client of Anthropic."""

import anthropic
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from checks import check, equal, fails, true
from with_openai import WEATHER, arguments
import json

ASK = [{"role": "user", "content": "Tell me a story of a cat and a king."}]
TOOL = {"name": "weather", "description": "The weather of a city.", "input_schema": WEATHER}
HASH = "logits_hash"
# The client has no field for it any more.
GREEDY = {"temperature": 0}
EVENTS = TypeAdapter(RawMessageStreamEvent)


def client(served, **more):
    return anthropic.Anthropic(**{"base_url": served.url, "api_key": served.key, "max_retries": 0, "timeout": 60, **more})


@check("anthropic: messages, twice the same")
def messages(served):
    raw = client(served).messages.with_raw_response
    answers = [raw.create(model=served.model, max_tokens=12, messages=ASK, extra_body=GREEDY) for _ in range(2)]
    a, b = [r.parse() for r in answers]
    Message.model_validate(a.model_dump())
    equal((a.type, a.role, a.stop_reason, a.stop_sequence), ("message", "assistant", "max_tokens", None), "answer")
    equal([c.type for c in a.content], ["text"], "blocks")
    true(a.content[0].text, "there is no text")
    equal(a.content[0].text, b.content[0].text, "text")
    equal(a.model_extra[HASH], b.model_extra[HASH], "hash")
    equal(answers[0].headers["x-carat-logits-hash"], a.model_extra[HASH], "hash of the header")
    equal(a.usage.output_tokens, 12, "tokens")
    sums = {u.input_tokens + u.cache_read_input_tokens + u.cache_creation_input_tokens for u in (a.usage, b.usage)}
    equal(len(sums), 1, "sums of the prompt's tokens")
    true(b.usage.cache_read_input_tokens > 0, "nothing of the prompt was kept")
    counted = client(served).messages.count_tokens(model=served.model, messages=ASK)
    equal({counted.input_tokens}, sums, "tokens that were counted")


@check("anthropic: ends")
def ends(served):
    c = client(served)
    asked = dict(model=served.model, max_tokens=200, messages=[{"role": "user", "content": "Hi"}], extra_body=GREEDY)
    a = c.messages.create(**asked)
    equal(a.stop_reason, "end_turn", "stop_reason")
    word = a.content[0].text.split()[2]
    b = c.messages.create(**asked, stop_sequences=["nowhere", word])
    equal((b.stop_reason, b.stop_sequence), ("stop_sequence", word), "end by a text")
    equal(b.content[0].text, a.content[0].text[: a.content[0].text.index(word)], "text in front of it")


@check("anthropic: messages streamed are messages whole")
def stream(served):
    c = client(served)
    asked = dict(model=served.model, max_tokens=12, messages=ASK, extra_body=GREEDY)
    whole = c.messages.create(**asked)
    seen = list(c.messages.create(**asked, stream=True))
    for event in seen:
        EVENTS.validate_python(event.model_dump())
    kinds = list(dict.fromkeys(e.type for e in seen))
    equal(" ".join(kinds), "message_start content_block_start content_block_delta content_block_stop message_delta message_stop", "order")
    equal("".join(e.delta.text for e in seen if e.type == "content_block_delta"), whole.content[0].text, "text")
    end = [e for e in seen if e.type == "message_delta"][0]
    equal((end.delta.stop_reason, end.usage.output_tokens), ("max_tokens", 12), "end")
    equal(end.model_extra[HASH], whole.model_extra[HASH], "hash")
    with c.messages.stream(**asked) as s:
        text = "".join(s.text_stream)
        final = s.get_final_message()
    equal((text, final.content[0].text), (whole.content[0].text,) * 2, "text by the helper")
    equal(final.stop_reason, "max_tokens", "stop_reason by the helper")


@check("anthropic: system, blocks, the beginning of an answer")
def blocks(served):
    c = client(served)
    asked = dict(model=served.model, max_tokens=6, extra_body=GREEDY)
    text, listed = [
        c.messages.create(**asked, system=system, messages=[{"role": "user", "content": content}])
        for system, content in [("Be brief.", "Hi"), ([{"type": "text", "text": "Be brief."}], [{"type": "text", "text": "Hi"}])]
    ]
    equal(text.model_extra[HASH], listed.model_extra[HASH], "hash of texts and of blocks")
    begun = "Once upon a time there was"
    after = c.messages.create(**asked, messages=[*ASK, {"role": "assistant", "content": begun}])
    true(not after.content[0].text.lstrip().startswith("Once"), "the beginning is in the answer")
    equal(after.usage.input_tokens + after.usage.cache_read_input_tokens, c.messages.count_tokens(model=served.model, messages=[*ASK, {"role": "assistant", "content": begun}]).input_tokens, "tokens of the prompt")
    counted = [c.messages.count_tokens(model=served.model, messages=ASK, **more).input_tokens for more in ({}, {"system": "Be brief."})]
    true(counted[0] != counted[1], "a system message does not count")


@check("anthropic: tools and their results")
def tools(served):
    c = client(served)
    asked = dict(model=served.model, max_tokens=120, tools=[TOOL], extra_body=GREEDY)
    for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}):
        a = c.messages.create(**asked, messages=ASK, tool_choice=choice)
        equal((a.stop_reason, [b.type for b in a.content if b.type != "text"]), ("tool_use", ["tool_use"]), "end")
        call = a.content[-1]
        equal(call.name, "weather", "tool")
        arguments(json.dumps(call.input))
    seen = list(c.messages.create(**asked, messages=ASK, tool_choice=choice, stream=True))
    for event in seen:
        EVENTS.validate_python(event.model_dump())
    pieces = [e.delta.partial_json for e in seen if e.type == "content_block_delta" and e.delta.type == "input_json_delta"]
    equal(json.loads("".join(pieces)), call.input, "input piece by piece")
    with c.messages.stream(**asked, messages=ASK, tool_choice=choice) as s:
        equal(s.get_final_message().content[-1].input, call.input, "input by the helper")
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}]}
    after = c.messages.create(**asked, messages=[*ASK, {"role": "assistant", "content": a.content}, result], tool_choice={"type": "none"})
    true(after.content[0].text, "no text after the result")


@check("anthropic: a conversation with thoughts and calls of before")
def earlier_calls(served):
    said = [
        {"type": "thinking", "thinking": "I look.", "signature": "x"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris", "days": 1}},
    ]
    result = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "Sunny."}]}, {"type": "text", "text": "And?"}]
    talk = [*ASK, {"role": "assistant", "content": said}, {"role": "user", "content": result}]
    asked = dict(model=served.model, messages=talk, tools=[TOOL], tool_choice={"type": "none"}, thinking={"type": "disabled"})
    a = client(served).messages.create(**asked, max_tokens=6, metadata={"user_id": "someone"}, extra_body=GREEDY)
    true(a.content[0].text, "no text after the result")
    counted = client(served).messages.count_tokens(**asked).input_tokens
    equal(a.usage.input_tokens + a.usage.cache_read_input_tokens, counted, "tokens that were counted")


@check("anthropic: errors")
def errors(served):
    c = client(served)
    asked = dict(model=served.model, max_tokens=4, messages=ASK)

    def kind(error):
        equal(error.body["type"], "error", "type")
        return error.status_code, error.body["error"]["type"]

    e = fails(anthropic.BadRequestError, lambda: c.messages.create(**{**asked, "messages": []}), "no messages")
    equal(kind(e), (400, "invalid_request_error"), "error")
    image = [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}]}]
    e = fails(anthropic.BadRequestError, lambda: c.messages.create(**{**asked, "messages": image}), "an image")
    true("messages[0].content[0]" in str(e), f"the error names no block: {e}")
    e = fails(anthropic.BadRequestError, lambda: c.messages.create(**{**asked, "messages": [{"role": "user", "content": "word " * 4000}]}), "a long prompt")
    e = fails(anthropic.AuthenticationError, lambda: client(served, api_key="wrong").messages.create(**asked), "a wrong key")
    equal(kind(e), (401, "authentication_error"), "error")
    e = fails(anthropic.BadRequestError, lambda: c.messages.create(**asked, thinking={"type": "enabled", "budget_tokens": 1024}), "a budget above max_tokens")
    e = fails(anthropic.BadRequestError, lambda: c.messages.create(**asked, tools=[{"type": "web_search_20250305", "name": "web_search"}]), "a tool of Anthropic")
    fails(anthropic.NotFoundError, lambda: c.models.retrieve("no-such-model"), "another model")
    equal([m.id for m in c.models.list()], [served.model], "models")
