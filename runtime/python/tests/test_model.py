"""Models and conversations: errors, files, life in an app, the card."""

import asyncio
import os
import tempfile
import unittest

import carat
from models import base

PATH = os.environ["CARAT_TEST_MODEL"]


class Errors(unittest.TestCase):
    def fails(self, code, act, *args, **options):
        with self.assertRaises(carat.CaratError) as caught:
            act(*args, **options)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertNotIn("\n", str(caught.exception))
        return caught.exception

    def test_of_files(self):
        self.fails("storage", carat.Model.load, "nowhere.gguf")
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            file.write(b"no model at all" * 100)
            file.flush()
            self.fails("format", carat.Model.load, file.name)
        self.fails("parameter", carat.Model.load, PATH, device="quantum")
        self.fails("parameter", carat.Model.load, PATH, context=-1)
        self.fails("parameter", carat.Model.load, PATH, context="long")
        self.fails("storage", base().resume, "nowhere.session")

    def test_of_parameters(self):
        error = self.fails("parameter", base().generate, "x", temperature="hot")
        self.assertEqual((error.found, error.expected), ("'hot'", "a number"))
        self.fails("parameter", base().generate, "x", temperature=-1.0)
        self.fails("parameter", base().generate, "x", max_tokens=-1)
        self.fails("parameter", base().generate, "x", seed=2**64)
        self.fails("parameter", base().generate, "x", temperature=1e300)
        self.fails("parameter", base().generate, 7)
        self.fails("parameter", base().generate, "x", schema={"type": "no such type"})
        self.fails("parameter", base().generate, "x", schema={"type": object()})
        self.fails("parameter", base().generate, "x", schema=complex)
        self.fails("parameter", base().generate, "x", schema=int, grammar='start: "a"')
        self.fails("parameter", base().detokenize, [2**40])
        with self.assertRaises(TypeError):
            base().generate("x", temprature=1)

    def test_of_texts_that_are_no_unicode(self):
        talk = base().conversation()
        for text in ("\ud800", "a\udfff"):
            self.assertIn("no Unicode", str(self.fails("parameter", base().tokenize, text)))
            self.fails("parameter", base().generate, text)
            self.fails("parameter", talk.respond, text)
            self.fails("parameter", talk.set_system, text)
            self.fails("parameter", carat.Model.load, text)
        self.assertEqual(talk.messages, [])
        base().tokenize("a\0b🙂")

    def test_of_contexts(self):
        self.fails("context", base().generate, "word " * 5000, max_tokens=1)

    def test_of_a_conversation_that_answers(self):
        talk = base().conversation()
        with talk.stream("Go on", max_tokens=900):
            self.fails("parameter", talk.respond, "x")
        talk.respond("x", max_tokens=1)

    def test_of_an_object_that_is_cut_short(self):
        self.fails("parameter", base().generate, "x", schema=list[str], max_tokens=1)


class Life(unittest.TestCase):
    def test_closing_closes_everything_and_again(self):
        model = carat.Model.load(PATH, device="cpu")
        talk = model.conversation()
        stream = talk.stream("Go on", max_tokens=900)
        next(stream)
        model.close()
        model.close()
        talk.close()
        stream.close()
        self.assertTrue(model.closed)
        for act in (lambda: model.generate("x"), lambda: talk.respond("x"), model.memory_warning, lambda: model.tokenize("x")):
            with self.assertRaises(carat.CaratError) as caught:
                act()
            self.assertEqual(caught.exception.code, "aborted")
        self.assertIn("facet", repr(model))

    def test_a_with_closes(self):
        with carat.Model.load(PATH, device="cpu") as model, model.conversation() as talk:
            talk.respond("x", max_tokens=1)
        self.assertTrue(model.closed)

    def test_progress_is_told_and_ends_loading(self):
        told = []
        carat.Model.load(PATH, device="cpu", map=False, progress=lambda *p: told.append(p)).close()
        self.assertTrue(told)
        self.assertTrue(all(s in ("read", "upload", "compile") for s, _, _ in told))
        with self.assertRaises(carat.CaratError) as caught:
            carat.Model.load(PATH, device="cpu", map=False, progress=lambda *p: False)
        self.assertEqual(caught.exception.code, "aborted")

        def broken(*_):
            raise LookupError("mine")

        with self.assertRaises(LookupError):
            carat.Model.load(PATH, device="cpu", map=False, progress=broken)

    def test_loading_beside_an_event_loop(self):
        async def run():
            async with await carat.Model.load_async(PATH, device="cpu") as model:
                return await model.generate_async("A", max_tokens=4, temperature=0)

        self.assertEqual(asyncio.run(run()), base().generate("A", max_tokens=4, temperature=0))

    def test_memory_and_background(self):
        with carat.Model.load(PATH, device="cpu") as model:
            talk = model.conversation(temperature=0)
            talk.respond("A ship", max_tokens=8)
            model.memory_warning()
            model.enter_background()
            after = talk.respond("A house", max_tokens=8)
            model.enter_foreground()
        other = base().conversation(temperature=0)
        other.respond("A ship", max_tokens=8)
        self.assertEqual(other.respond("A house", max_tokens=8), after)

    def test_the_card(self):
        card = base().card
        self.assertIsNotNone(card)
        html = card._repr_html_()
        self.assertIn("<table>", html)
        self.assertIn("<svg", html)
        self.assertIn("&lt;b&gt;", carat.Card(1, 2.0, float("nan"), 0, 0, 1, "<b>")._repr_html_())


class Conversations(unittest.TestCase):
    def test_is_saved_and_resumed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "talk")
            talk = base().conversation(system="Tell stories.", temperature=0)
            talk.respond("A ship", max_tokens=12)
            talk.save(path)
            said = talk.messages
            following = talk.respond("A house", max_tokens=12)
            again = base().resume(path, temperature=0)
            self.assertEqual(again.messages, said)
            stream = again.stream("A house", max_tokens=12)
            self.assertEqual(stream.wait().text, following)
            self.assertGreater(stream.outcome.cached_tokens, 0)

    def test_undo_regenerate_and_messages(self):
        talk = base().conversation(system="Tell stories.", temperature=1.0)
        first = talk.respond("A ship", max_tokens=12)
        other = talk.regenerate(max_tokens=12).wait().text
        self.assertNotEqual(first, other)
        self.assertEqual([m["role"] for m in talk.messages], ["system", "user", "assistant"])
        said = talk.messages
        self.assertEqual(talk.undo(), "A ship")
        self.assertIsNone(talk.undo())
        talk.messages = said
        self.assertEqual(talk.messages, said)
        self.assertEqual(base().conversation(messages=said).messages, said)
        with self.assertRaises(carat.CaratError):
            talk.messages = [{"role": "user", "content": object()}]


if __name__ == "__main__":
    unittest.main()
