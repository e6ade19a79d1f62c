"""The client of OpenAI."""

import json

import openai
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from checks import check, equal, fails, true

ASK = [{"role": "user", "content": "Tell me a story of a cat and a king."}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather of a city.", "parameters": WEATHER}}
HASH = "logits_hash"


def client(served, **more):
    return openai.OpenAI(**{"base_url": f"{served.url}/v1", "api_key": served.key, "max_retries": 0, "timeout": 60, **more})


def arguments(text):
    """The arguments of a call, which follow the schema."""
    given = json.loads(text)
    true(isinstance(given["city"], str) and 1 <= given["days"] <= 9 and len(given) == 2, f"arguments outside of their schema: {text}")


@check("openai: models")
def models(served):
    c = client(served)
    equal([m.id for m in c.models.list()], [served.model], "models")
    equal(c.models.retrieve(served.model).id, served.model, "model")


@check("openai: chat, twice the same")
def chat(served):
    raw = client(served).chat.completions.with_raw_response
    answers = [raw.create(model=served.model, messages=ASK, max_tokens=12, temperature=0) for _ in range(2)]
    a, b = [r.parse() for r in answers]
    choice = a.choices[0]
    equal(choice.finish_reason, "length", "finish_reason")
    true(choice.message.content, "there is no text")
    equal(choice.message.content, b.choices[0].message.content, "text")
    equal(a.usage.completion_tokens, 12, "tokens")
    equal(a.usage.total_tokens, a.usage.prompt_tokens + 12, "sum of tokens")
    true(b.usage.prompt_tokens_details.cached_tokens > 0, "nothing of the prompt was kept")
    hashes = [r.choices[0].model_extra[HASH] for r in (a, b)]
    equal(hashes[0], hashes[1], "hash")
    equal([r.headers["x-carat-logits-hash"] for r in answers], hashes, "hash of the header")
    equal(len(hashes[0]), 64, "digits of the hash")


@check("openai: chat to the end of the turn")
def ends(served):
    a = client(served).chat.completions.create(model=served.model, messages=[{"role": "user", "content": "Hi"}], max_tokens=200, temperature=0)
    equal(a.choices[0].finish_reason, "stop", "finish_reason")
    true(a.usage.completion_tokens < 200, "the end of the turn did not end it")


@check("openai: chat streamed is chat whole")
def stream(served):
    c = client(served)
    asked = dict(model=served.model, messages=ASK, max_tokens=12, temperature=0)
    whole = c.chat.completions.create(**asked)
    chunks = list(c.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    equal(chunks[0].choices[0].delta.role, "assistant", "first role")
    equal("".join(k.choices[0].delta.content or "" for k in chunks if k.choices), whole.choices[0].message.content, "text")
    last = [k for k in chunks if k.choices][-1].choices[0]
    equal(last.finish_reason, "length", "finish_reason")
    equal(last.model_extra[HASH], whole.choices[0].model_extra[HASH], "hash")
    equal(len({k.id for k in chunks}), 1, "names of the answer")
    equal(chunks[-1].choices, [], "choices beside the usage")
    equal(chunks[-1].usage.completion_tokens, 12, "tokens")


@check("openai: the helper of streams")
def helper(served):
    # The helper raises where a limit ends an answer.
    with client(served).chat.completions.stream(model=served.model, messages=[{"role": "user", "content": "Hi"}], max_tokens=200, temperature=0) as s:
        deltas = [e.delta for e in s if e.type == "content.delta"]
        equal("".join(deltas), s.get_final_completion().choices[0].message.content, "text")


@check("openai: seeds, several choices, stop texts, logprobs")
def fields(served):
    c = client(served)
    asked = dict(model=served.model, messages=ASK, max_tokens=8, temperature=1.0)
    a, b = [c.chat.completions.create(**asked, seed=7, n=2) for _ in range(2)]
    equal([x.message.content for x in a.choices], [x.message.content for x in b.choices], "texts of one seed")
    true(a.choices[0].model_extra[HASH] != a.choices[1].model_extra[HASH], "two choices are one")
    equal(a.usage.completion_tokens, 16, "tokens of both")
    greedy = dict(model=served.model, messages=ASK, max_tokens=20, temperature=0)
    text = c.chat.completions.create(**greedy).choices[0].message.content
    word = text.split()[3]
    stopped = c.chat.completions.create(**greedy, stop=[word]).choices[0]
    equal(stopped.message.content, text[: text.index(word)], "text in front of the stop text")
    equal(stopped.finish_reason, "stop", "finish_reason")
    told = c.chat.completions.create(**{**greedy, "max_tokens": 4}, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    equal(len(told), 4, "tokens")
    for token in told:
        equal(len(token.top_logprobs), 3, "likeliest tokens")
        equal(token.top_logprobs[0].token, token.token, "the likeliest token")
        true(token.logprob <= 0, "a probability above 1")


class City(BaseModel):
    # A small model would add properties without end.
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=20)
    capital: bool


@check("openai: json_schema")
def schema(served):
    given = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": WEATHER}}
    a = client(served).chat.completions.create(model=served.model, messages=ASK, max_tokens=80, temperature=0, response_format=given)
    arguments(a.choices[0].message.content)
    equal(a.choices[0].finish_reason, "stop", "finish_reason")


@check("openai: parse")
def parse(served):
    a = client(served).chat.completions.parse(model=served.model, messages=ASK, max_tokens=200, temperature=0, response_format=City)
    true(isinstance(a.choices[0].message.parsed, City), f"not parsed: {a.choices[0].message}")


@check("openai: json_object")
def json_object(served):
    given = {"type": "json_object"}
    a = client(served).chat.completions.create(model=served.model, messages=ASK, max_tokens=60, temperature=0, response_format=given)
    if a.choices[0].finish_reason == "stop":
        true(isinstance(json.loads(a.choices[0].message.content), dict), "no object")
    else:
        true(a.choices[0].message.content.lstrip().startswith("{"), "no beginning of an object")


@check("openai: a call that must come")
def known(served):
    a = client(served).chat.completions.create(model=served.model, messages=ASK, tools=[TOOL], tool_choice="required", max_tokens=80, temperature=0)
    equal(len(a.choices[0].message.tool_calls), 1, "calls by tool_choice 'required'")


@check("openai: tools and their results")
def tools(served):
    c = client(served)
    asked = dict(model=served.model, tools=[TOOL], parallel_tool_calls=False, max_tokens=120, temperature=0)
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        a = c.chat.completions.create(**asked, messages=ASK, tool_choice=choice).choices[0]
        equal(a.finish_reason, "tool_calls", "finish_reason")
        equal([x.function.name for x in a.message.tool_calls], ["weather"], "calls")
        arguments(a.message.tool_calls[0].function.arguments)
    call = a.message.tool_calls[0]
    chunks = [k.choices[0].delta for k in c.chat.completions.create(**asked, messages=ASK, tool_choice="required", stream=True) if k.choices]
    pieces = [t for d in chunks for t in d.tool_calls or []]
    equal(pieces[0].function.name, "weather", "name of the first piece")
    equal("".join(p.function.arguments or "" for p in pieces), call.function.arguments, "arguments piece by piece")
    messages = [*ASK, a.message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}]
    after = c.chat.completions.create(**asked, messages=messages, tool_choice="none").choices[0]
    true(not after.message.tool_calls and after.message.content, "no text after the result")


@check("openai: a conversation with calls of before")
def earlier_calls(served):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris", "days": 1}'}}
    messages = [*ASK, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "Sunny."}]
    a = client(served).chat.completions.create(model=served.model, messages=messages, tools=[TOOL], tool_choice="none", max_tokens=6, temperature=0)
    true(a.choices[0].message.content, "no text after the result")


@check("openai: completions")
def completions(served):
    c = client(served)
    asked = dict(model=served.model, prompt="The capital of France is", max_tokens=6, temperature=0)
    whole = c.completions.create(**asked)
    equal(whole.choices[0].finish_reason, "length", "finish_reason")
    pieces = list(c.completions.create(**asked, stream=True))
    equal("".join(k.choices[0].text for k in pieces if k.choices), whole.choices[0].text, "text piece by piece")
    two = c.completions.create(**{**asked, "prompt": ["The capital of France is", "One two three"]}, echo=True)
    equal(two.choices[0].text, asked["prompt"] + whole.choices[0].text, "text with its prompt")
    equal(len(two.choices), 2, "choices")


@check("openai: embeddings")
def embeddings(served):
    c = client(served)
    # The client asks for base64 by itself.
    a = c.embeddings.create(model=served.model, input=["a cat", "a kitten", "the stock market"])
    b = c.embeddings.create(model=served.model, input="a cat", encoding_format="float")
    vectors = [d.embedding for d in a.data]
    equal(len(vectors), 3, "vectors")
    true(max(abs(x - y) for x, y in zip(vectors[0], b.data[0].embedding)) < 1e-6, "base64 and floats differ")
    true(abs(sum(x * x for x in vectors[0]) - 1) < 1e-3, "a vector is not of length 1")
    equal(a.usage.prompt_tokens, a.usage.total_tokens, "tokens")


@check("openai: errors")
def errors(served):
    c = client(served)
    ask = dict(model=served.model, messages=ASK, max_tokens=4)
    e = fails(openai.BadRequestError, lambda: c.chat.completions.create(**{**ask, "messages": []}), "no messages")
    equal((e.status_code, e.body["type"], e.param), (400, "invalid_request_error", "messages"), "error")
    e = fails(openai.BadRequestError, lambda: c.chat.completions.create(**ask, temperature=-1), "a temperature below 0")
    true("temperature" in str(e), f"the error names no field: {e}")
    e = fails(openai.BadRequestError, lambda: c.chat.completions.create(**{**ask, "messages": [{"role": "user", "content": "word " * 4000}]}), "a long prompt")
    equal(e.code, "context_length_exceeded", "code")
    e = fails(openai.AuthenticationError, lambda: client(served, api_key="wrong").chat.completions.create(**ask), "a wrong key")
    equal(e.code, "invalid_api_key", "code")
    fails(openai.NotFoundError, lambda: c.models.retrieve("no-such-model"), "another model")
    fails(openai.NotFoundError, lambda: client(served, base_url=f"{served.url}/v9").models.list(), "another path")
    e = fails(openai.BadRequestError, lambda: c.chat.completions.create(**ask, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}), "a schema that is none")
    fails(openai.BadRequestError, lambda: c.chat.completions.create(**{**ask, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]}), "an image")


@check("openai: responses")
def responses(served):
    c = client(served)
    asked = dict(model=served.model, input=ASK[0]["content"], max_output_tokens=12, temperature=0, metadata={"a": "b"}, store=False)
    a, b = [c.responses.create(**asked) for _ in range(2)]
    Response.model_validate(a.model_dump())
    equal((a.status, a.incomplete_details.reason), ("incomplete", "max_output_tokens"), "status")
    equal(a.metadata, {"a": "b"}, "metadata")
    true(a.output_text, "there is no text")
    equal(a.output_text, b.output_text, "text")
    equal(a.model_extra[HASH], b.model_extra[HASH], "hash")
    equal(a.usage.total_tokens, a.usage.input_tokens + 12, "sum of tokens")
    chat = c.chat.completions.create(model=served.model, messages=ASK, max_tokens=12, temperature=0)
    equal(a.model_extra[HASH], chat.choices[0].model_extra[HASH], "hash of the same by chat")
    done = c.responses.create(model=served.model, input=[{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}], temperature=0, max_output_tokens=200)
    equal(done.status, "completed", "status")
    # What it said goes into the next turn as it is.
    after = c.responses.create(model=served.model, instructions="Be brief.", input=[{"role": "user", "content": "Hi"}, *done.output, {"role": "user", "content": "And?"}], max_output_tokens=4)
    true(after.usage.input_tokens > done.usage.input_tokens, "the turn of before is not in the prompt")


EVENTS = TypeAdapter(ResponseStreamEvent)


@check("openai: responses streamed")
def responses_stream(served):
    c = client(served)
    asked = dict(model=served.model, input=ASK[0]["content"], max_output_tokens=12, temperature=0)
    whole = c.responses.create(**asked)
    seen = list(c.responses.create(**asked, stream=True))
    for event in seen:
        EVENTS.validate_python(event.model_dump())
    equal([e.sequence_number for e in seen], list(range(len(seen))), "numbers")
    kinds = list(dict.fromkeys(e.type.removeprefix("response.") for e in seen))
    equal(
        " ".join(kinds),
        "created in_progress output_item.added content_part.added output_text.delta output_text.done content_part.done output_item.done incomplete",
        "order",
    )
    equal("".join(e.delta for e in seen if e.type == "response.output_text.delta"), whole.output_text, "text")
    equal(seen[-1].response.output_text, whole.output_text, "text at the end")
    equal(seen[-1].response.model_extra[HASH], whole.model_extra[HASH], "hash")
    ids = {e.item_id for e in seen if hasattr(e, "item_id")} | {o.id for o in seen[-1].response.output}
    equal(len(ids), 1, "names of the item")
    # The helper wants an answer that is complete.
    with c.responses.stream(model=served.model, input="Hi", max_output_tokens=200, temperature=0) as s:
        deltas = [e.delta for e in s if e.type == "response.output_text.delta"]
        equal("".join(deltas), s.get_final_response().output_text, "text by the helper")


@check("openai: responses with a schema")
def responses_schema(served):
    a = client(served).responses.parse(model=served.model, input="Tell me of Paris.", text_format=City, temperature=0, max_output_tokens=200)
    true(isinstance(a.output_parsed, City), f"not parsed: {a.output_text}")


@check("openai: responses with tools and their results")
def responses_tools(served):
    c = client(served)
    tool = {"type": "function", **TOOL["function"], "strict": True}
    asked = dict(model=served.model, tools=[tool], parallel_tool_calls=False, max_output_tokens=120, temperature=0)
    a = c.responses.create(**asked, input="The weather of Paris?", tool_choice="required")
    calls = [o for o in a.output if o.type == "function_call"]
    equal([x.name for x in calls], ["weather"], "calls")
    arguments(calls[0].arguments)
    seen = list(c.responses.create(**asked, input="The weather of Paris?", tool_choice={"type": "function", "name": "weather"}, stream=True))
    for event in seen:
        EVENTS.validate_python(event.model_dump())
    deltas = "".join(e.delta for e in seen if e.type == "response.function_call_arguments.delta")
    done = [e for e in seen if e.type == "response.function_call_arguments.done"]
    equal((deltas, done[0].name), (done[0].arguments, "weather"), "arguments piece by piece")
    result = {"type": "function_call_output", "call_id": calls[0].call_id, "output": "Sunny."}
    after = c.responses.create(**{**asked, "tools": []}, input=[{"role": "user", "content": "The weather of Paris?"}, *a.output, result])
    true(after.output_text, "no text after the result")


@check("openai: what responses do not keep")
def responses_errors(served):
    c = client(served)
    e = fails(openai.BadRequestError, lambda: c.responses.create(model=served.model, input="x", previous_response_id="resp_1"), "an answer of before")
    equal(e.param, "previous_response_id", "param")
    fails(openai.NotFoundError, lambda: c.responses.retrieve("resp_1"), "an answer of before")
    fails(openai.BadRequestError, lambda: c.responses.create(model=served.model, input="x", tools=[{"type": "web_search"}]), "a tool of OpenAI")
