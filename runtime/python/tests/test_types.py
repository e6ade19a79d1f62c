"""Schemas of types, values of types, and tools; no model is asked but in the last tests."""

import asyncio
import dataclasses
import enum
import json
import unittest
from typing import Annotated, Literal, Optional, TypedDict, Union

import carat
from carat._schema import Form, schema_of, value_of
from carat._tools import Tools
from models import base, chat, module


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: Annotated[float, "how high"] = 0.0


@dataclasses.dataclass
class Shape:
    name: str
    color: Color
    points: list[Point]
    note: Optional[str] = None
    weights: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Tree:
    value: int
    children: "list[Tree]"


class Person(TypedDict):
    name: str
    age: int
    kind: Literal["adult", "child"]


def whole(schema):
    """A text of a form. One that the limit cuts, as a number without an end, says so, and another seed may do."""
    for seed in range(50):
        try:
            return base().generate("A:", schema=schema, max_tokens=100, temperature=0.8, seed=seed)
        except carat.CaratError as error:
            if "max_tokens" not in str(error):
                raise
    raise AssertionError("no text of 50 is whole")


class Schemas(unittest.TestCase):
    def test_of_each_type(self):
        cases = {
            str: {"type": "string"},
            bool: {"type": "boolean"},
            Optional[int]: {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            Color: {"enum": ["red", "blue"]},
            Literal["a", 1]: {"enum": ["a", 1]},
            list[float]: {"type": "array", "items": {"type": "number"}},
            dict[str, int]: {"type": "object", "additionalProperties": {"type": "integer"}},
        }
        for kind, schema in cases.items():
            self.assertEqual(schema_of(kind), schema)
        shape = schema_of(Shape)
        self.assertEqual(shape["required"], ["name", "color", "points"])
        self.assertEqual(shape["properties"]["points"]["items"]["properties"]["y"], {"type": "number", "description": "how high"})
        self.assertEqual(schema_of(Person)["required"], ["name", "age", "kind"])
        self.assertEqual(schema_of(Tree)["$ref"], "#/$defs/Tree")
        for kind in (complex, dict[int, str], tuple[int, str], bytes):
            with self.assertRaises(carat.CaratError):
                schema_of(kind)

    def test_values(self):
        text = '{"name": "n", "color": "red", "points": [{"x": 1, "y": 2}, {"x": 3}], "weights": {"a": 1}}'
        want = Shape("n", Color.RED, [Point(1, 2.0), Point(3)], None, {"a": 1.0})
        self.assertEqual(Form(Shape).read(text), want)
        self.assertEqual(value_of({"value": 1, "children": [{"value": 2, "children": []}]}, Tree), Tree(1, [Tree(2, [])]))
        self.assertEqual(value_of(None, Optional[int]), None)
        self.assertIsInstance(value_of(1, Union[float, int]), int)
        for value, kind in (("1", int), (True, int), ({"x": 1, "z": 2}, Point), ({}, Point), ("green", Color), (1.5, int)):
            with self.assertRaises(ValueError):
                value_of(value, kind)

    def test_a_model_follows_them(self):
        # The base model has no idea: what it writes is in the form all the same.
        self.assertEqual(set(whole(Person)), {"name", "age", "kind"})
        self.assertIsInstance(whole(Point), Point)
        self.assertIn(base().generate("A:", schema=Literal["yes", "no"]), ("yes", "no"))
        self.assertIsInstance(base().generate("A:", schema={"type": "integer", "minimum": 0, "maximum": 9}), int)

    def test_pydantic(self):
        pydantic = module("pydantic")

        class City(pydantic.BaseModel):
            name: str = pydantic.Field(max_length=12)
            size: int = pydantic.Field(ge=0, le=9)

        city = whole(City)
        self.assertIsInstance(city, City)
        shown = schema_of(dataclasses.make_dataclass("Pair", [("first", City)]))
        self.assertEqual(shown["properties"]["first"]["properties"]["size"]["maximum"], 9)


def weather(city: str, days: int = 1, color: Color = Color.RED) -> str:
    """Tells the weather.

    Args:
        city: The name of the city.
        days: How many
            days.
    """
    return f"{city} {days} {color.name}"


async def later(city: str) -> str:
    """Tells it later."""
    await asyncio.sleep(0)
    return "later in " + city


def broken(city: str) -> str:
    """Breaks."""
    raise LookupError("no " + city)


def call(name, **arguments):
    return carat.Call("1", name, json.dumps(arguments))


class ToolsOfFunctions(unittest.TestCase):
    def test_schema(self):
        tool = carat.Tool.of(weather)
        self.assertEqual((tool.name, tool.description), ("weather", "Tells the weather."))
        self.assertEqual(tool.parameters["required"], ["city"])
        self.assertEqual(tool.parameters["properties"]["city"], {"type": "string", "description": "The name of the city."})
        with self.assertRaises(carat.CaratError):
            carat.Tool.of(lambda *a: a)
        with self.assertRaises(carat.CaratError):
            Tools([weather, weather])

    def test_runs_and_tells_errors(self):
        tools = Tools([weather, later, broken])
        self.assertEqual(tools.run(call("weather", city="Rome", color="blue")), "Rome 1 BLUE")
        wrong = [call("broken", city="x"), call("none"), call("weather"), call("weather", city=1), call("weather", x="")]
        for bad in [*wrong, carat.Call("1", "weather", "{")]:
            self.assertIn("error", json.loads(tools.run(bad)), bad)
        with self.assertRaises(carat.CaratError):
            tools.run(call("later", city="Rome"))
        self.assertEqual(asyncio.run(tools.run_async(call("later", city="Rome"))), "later in Rome")
        self.assertEqual(asyncio.run(tools.run_async(call("weather", city="Rome"))), "Rome 1 RED")


class Chats(unittest.TestCase):
    def test_calls_run_within_a_stream(self):
        asked = []

        def capital(country: str) -> str:
            """The capital of a country."""
            asked.append(country)
            return "Paris"

        talk = chat().conversation(tools=[capital], temperature=0, max_rounds=2)
        stream = talk.stream("What is the capital of France?", tool_choice="required", max_tokens=80)
        kinds = [p.kind for p in stream.parts()]
        self.assertEqual(len(asked), kinds.count("result"))
        self.assertGreaterEqual(len(asked), 1)
        self.assertLess(kinds.index("call"), kinds.index("result"))
        self.assertEqual(stream.outcome.calls, [])
        roles = [m["role"] for m in talk.messages]
        self.assertEqual(roles[:3], ["user", "assistant", "tool"])
        self.assertEqual(roles[-1], "assistant")

    def test_asynchronous_and_manual_calls(self):
        async def run():
            talk = chat().conversation(tools=[later], temperature=0, max_rounds=1)
            text = await talk.respond_async("Weather in Rome?", tool_choice="later", max_tokens=60)
            return text, talk.messages

        text, said = asyncio.run(run())
        self.assertEqual(said[-1]["content"], text)
        self.assertTrue(said[2]["content"].startswith("later in "))
        now = {"name": "now", "parameters": {"type": "object", "properties": {}}, "strict": True}
        tool = {"type": "function", "function": now}
        talk = chat().conversation(tools=[tool], temperature=0)
        outcome = talk.stream("What time is it?", tool_choice="now", max_tokens=60).wait()
        self.assertEqual([c.name for c in outcome.calls], ["now"])
        after = talk.answer_calls({outcome.calls[0].id: "12:00"}, tool_choice="none", max_tokens=20).wait()
        self.assertEqual(after.calls, [])

    def test_structured_answers(self):
        person = chat().conversation(temperature=0).respond("Describe Ada Lovelace as JSON.", schema=Person, max_tokens=200)
        self.assertEqual(set(person), {"name", "age", "kind"})


if __name__ == "__main__":
    unittest.main()
