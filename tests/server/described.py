"""Whatever passed between clients and server against the server's own description."""

import json
from collections import Counter

import httpx
from jsonschema import Draft202012Validator
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource

from checks import equal, true


def events(text):
    """The data of server-sent events."""
    blocks = text.decode().split("\n\n")
    data = ["\n".join(l[6:] for l in b.split("\n") if l.startswith("data: ")) for b in blocks]
    return [json.loads(d) for d in data if d and d != "[DONE]"]


def pointer(*parts):
    return "urn:all#/" + "/".join(p.replace("~", "~0").replace("/", "~1") for p in parts)


class Description:
    def __init__(self, url):
        self.json = httpx.get(f"{url}/openapi.json").raise_for_status().json()
        resource = Resource.from_contents(self.json, default_specification=__import__("referencing.jsonschema").jsonschema.DRAFT202012)
        self.registry = Registry().with_resource("urn:all", resource)
        self.validators = {}

    def check(self):
        """That it is a description."""
        equal(self.json["openapi"][:4], "3.1.", "version")
        errors = [e.message for e in OpenAPIV31SpecValidator(self.json).iter_errors()]
        equal(errors, [], "errors of the description")

    def problems(self, value, *parts):
        at = pointer(*parts)
        if at not in self.validators:
            self.validators[at] = Draft202012Validator({"$ref": at}, registry=self.registry)
        return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in self.validators[at].iter_errors(value)]

    def path(self, path):
        """The path of the description that is meant."""
        known = self.json["paths"]
        if path in known:
            return path
        for pattern in known:
            front, brace, _ = pattern.partition("{")
            if brace and path.startswith(front) and "/" not in path[len(front) :]:
                return pattern
        return None

    def exchange(self, method, path, body, status, kind, answer):
        """What is wrong with one exchange, and what of the description it is about."""
        verb, known = method.lower(), self.path(path)
        if known is None or verb not in self.json["paths"][known]:
            return ([] if status in (404, 405) else [f"{method} {path} is not described, status {status}"]), None
        operation = self.json["paths"][known][verb]
        found = []
        # A request that is refused may be anything.
        if status == 200 and "requestBody" in operation:
            here = ("paths", known, verb, "requestBody", "content", "application/json", "schema")
            found += [f"request {p}" for p in self.problems(json.loads(body), *here)]
        told = str(status) if str(status) in operation["responses"] else f"{status // 100}XX"
        mime = kind.partition(";")[0]
        content = operation["responses"].get(told, {}).get("content", {})
        if mime not in content:
            return [*found, f"status {status} with {mime} is not described; there are {sorted(content)}"], None
        here = ("paths", known, verb, "responses", told, "content", mime, "schema")
        if mime == "application/json":
            found += [f"answer {p}" for p in self.problems(json.loads(answer), *here)]
        if mime == "text/event-stream":
            for event in events(answer):
                # An error in a stream has the form of errors.
                error = ("paths", known, verb, "responses", "4XX", "content", "application/json", "schema")
                failed = "error" in event and event.get("object") is None and event.get("type", "error") == "error"
                found += [f"event {p}" for p in self.problems(event, *(error if failed else here))]
        return [f"{method} {known} {status}: {f}" for f in found], (verb, known, told, mime)


def all_described(served):
    """Every exchange is as the description says; the most important ones are among them."""
    description = Description(served.url)
    seen, wrong = Counter(), []
    for exchange in list(served.recorder.exchanges):
        problems, about = description.exchange(*exchange)
        wrong += problems
        seen[about] += 1
    unique = list(dict.fromkeys(wrong))
    true(not unique, f"{len(wrong)} problems, of them: " + "\n      ".join(unique[:20]))
    for path, mime in [
        ("/v1/chat/completions", "application/json"),
        ("/v1/chat/completions", "text/event-stream"),
        ("/v1/completions", "application/json"),
        ("/v1/responses", "application/json"),
        ("/v1/responses", "text/event-stream"),
        ("/v1/messages", "application/json"),
        ("/v1/messages", "text/event-stream"),
        ("/v1/embeddings", "application/json"),
    ]:
        true(seen[("post", path, "200", mime)] > 0, f"no exchange of {path} with {mime} was seen")
    true(seen[("post", "/v1/chat/completions", "4XX", "application/json")] > 0, "no error was seen")


def core_agrees(served):
    """openapi-core takes the description, and with it a request and its answer."""
    api = OpenAPI.from_dict(Description(served.url).json)
    headers = {"Authorization": f"Bearer {served.key}"}
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    answer = httpx.post(f"{served.url}/v1/chat/completions", json=body, headers=headers)
    request = MockRequest(served.url, "post", "/v1/chat/completions", headers=headers, data=json.dumps(body).encode(), content_type="application/json")
    api.validate_request(request)
    api.validate_response(request, MockResponse(answer.content, answer.status_code, content_type="application/json"))
    wrong = MockRequest(served.url, "post", "/v1/chat/completions", headers=headers, data=b'{"messages": 1}', content_type="application/json")
    try:
        api.validate_request(wrong)
    except Exception:
        return
    raise AssertionError("openapi-core takes a request whose 'messages' is a number")
