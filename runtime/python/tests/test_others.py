"""LangChain, the command llm, and the examples, each where its packages are here."""

import asyncio
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import carat
from models import base, chat, module


def capital(country: str) -> str:
    """The capital of a country."""
    return "Paris"


class LangChain(unittest.TestCase):
    def setUp(self):
        module("langchain_core")

    def test_invoke_and_stream(self):
        from carat.langchain import CaratChat

        with self.assertRaises(carat.CaratError):
            CaratChat(model="nowhere.gguf").invoke("x")
        one = CaratChat(model=os.environ["CARAT_TEST_MODEL"], load={"device": "cpu"}, temperature=0, max_tokens=16)
        message = one.invoke([("system", "Tell stories."), ("human", "A ship")])
        same = base().conversation(system="Tell stories.", temperature=0).respond("A ship", max_tokens=16)
        self.assertEqual(message.content, same)
        self.assertEqual(message.usage_metadata["output_tokens"], 16)
        self.assertEqual("".join(c.content for c in one.stream([("system", "Tell stories."), ("human", "A ship")])), same)

        async def read():
            pieces = [c.content async for c in one.astream("A ship")]
            return "".join(pieces), (await one.ainvoke("A ship")).content, await one.abatch(["A", "B"])

        streamed, whole, batch = asyncio.run(read())
        self.assertEqual(streamed, whole)
        self.assertEqual(len(batch), 2)
        history = [("human", "A"), ("ai", "B"), ("human", "C")]
        self.assertIsInstance(one.invoke(history).content, str)

    def test_tools_and_structured_output(self):
        from langchain_core.messages import HumanMessage, ToolMessage
        from pydantic import BaseModel

        from carat.langchain import CaratChat

        class City(BaseModel):
            name: str
            people: int

        one = CaratChat.of(chat(), temperature=0.5, seed=1, max_tokens=200)
        asked = [HumanMessage("What is the capital of France?")]
        said = one.bind_tools([capital], tool_choice="any").invoke(asked)
        self.assertEqual(said.tool_calls[0]["name"], "capital")
        results = [ToolMessage(capital(**c["args"]), tool_call_id=c["id"]) for c in said.tool_calls]
        after = one.bind_tools([capital], tool_choice="none").invoke([*asked, said, *results])
        self.assertTrue(after.content)
        chunks = None
        for chunk in one.bind_tools([capital], tool_choice="capital").stream(asked):
            chunks = chunk if chunks is None else chunks + chunk
        self.assertEqual(chunks.tool_calls[0]["args"], said.tool_calls[0]["args"])
        self.assertIsInstance(one.with_structured_output(City).invoke("Describe Paris as JSON."), City)
        both = one.with_structured_output(City, include_raw=True).invoke("Describe Paris as JSON.")
        self.assertIsInstance(both["parsed"], City)


class Llm(unittest.TestCase):
    def run_llm(self, *args):
        code = (
            "import llm.plugins, carat.llm_plugin, sys\n"
            "if not llm.plugins.pm.is_registered(carat.llm_plugin): llm.plugins.pm.register(carat.llm_plugin)\n"
            "from llm.cli import cli\ncli(sys.argv[1:])\n"
        )
        run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, env=self.env)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def test_the_command(self):
        module("llm")
        with tempfile.TemporaryDirectory() as folder:
            self.env = {**os.environ, "LLM_USER_PATH": folder}
            self.assertEqual(self.run_llm("carat", "add", "small", os.environ["CARAT_TEST_MODEL"]).strip(), "carat/small")
            self.assertIn("carat/small", self.run_llm("models"))
            options = ("-m", "carat/small", "-o", "temperature", "0", "-o", "max_tokens", "16")
            same = base().conversation(temperature=0).respond("A ship", max_tokens=16)
            self.assertEqual(self.run_llm("A ship", *options).strip(), same.strip())
            self.assertEqual(self.run_llm("A ship", *options, "--no-stream").strip(), same.strip())
            self.assertTrue(self.run_llm("And then?", "-c", *options[2:]))
            fields = {"a": {"type": "integer", "minimum": 0, "maximum": 9}}
            tree = {"type": "object", "properties": fields, "required": ["a"], "additionalProperties": False}
            schema = json.dumps(tree)
            told = self.run_llm("A:", "-m", "carat/small", "-o", "max_tokens", "200", "--schema", schema)
            self.assertEqual(list(json.loads(told)), ["a"])
            self.run_llm("carat", "remove", "small")
            self.assertNotIn("carat/small", self.run_llm("carat", "list"))

    def test_tools(self):
        llm = module("llm")
        from carat.llm_plugin import CaratModel

        chat()
        model = CaratModel("carat/chat", os.environ["CARAT_TEST_CHAT_MODEL"])
        response = model.chain("What is the capital of France?", tools=[capital], options={"max_tokens": 60, "temperature": 0})
        self.assertIsInstance(response.text(), str)

        # A call that came, and its result: what the chain asks next.
        message, parts = llm.parts.Message, llm.parts
        said = [
            message("user", [parts.TextPart("What is the capital of France?")]),
            message("assistant", [parts.ToolCallPart("capital", {"country": "France"}, "7")]),
            message("tool", [parts.ToolResultPart("capital", "Paris", "7")]),
        ]
        after = model.prompt(messages=said, tools=[capital], max_tokens=30, temperature=0)
        self.assertTrue(after.text() or after.tool_calls())


class Examples(unittest.TestCase):
    folder = pathlib.Path(os.environ.get("CARAT_TEST_EXAMPLES", "nowhere"))

    def run_example(self, name, model, *args, text=""):
        run = subprocess.run(
            [sys.executable, self.folder / name, model, *args], input=text, capture_output=True, text=True, timeout=300
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def setUp(self):
        if not self.folder.is_dir():
            self.skipTest("ABSENT: the examples are not here")

    def test_programs(self):
        chat()
        model = os.environ["CARAT_TEST_CHAT_MODEL"]
        self.assertTrue(self.run_example("chat.py", model, text="Hello\n"))
        self.assertEqual(self.run_example("batch.py", model, "A ship", "A house").count("\n>"), 1)
        self.assertIn("tool", self.run_example("tools.py", model))
        self.assertIn("Recipe(", self.run_example("structured.py", model))

    def test_the_notebook(self):
        nbformat = module("nbformat")
        nbclient = module("nbclient")
        module("ipykernel")
        chat()
        os.environ["CARAT_MODEL"] = os.environ["CARAT_TEST_CHAT_MODEL"]
        notebook = nbformat.read(self.folder / "notebook.ipynb", as_version=4)
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
        outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
        self.assertTrue(any("<svg" in o.get("data", {}).get("text/html", "") for o in outputs))
        self.assertFalse([o for o in outputs if o.output_type == "error"])

    def test_the_readme(self):
        readme = (self.folder / "../../runtime/python/README.md").read_text("utf-8")
        code = re.search(r"```python\n(.*?)```", readme, re.S)[1]
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(os.environ["CARAT_TEST_MODEL"], os.path.join(folder, "model.gguf"))
            run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertTrue(run.stdout.strip())


if __name__ == "__main__":
    unittest.main()
