"""Streams: the command line's tokens, ends of every kind, threads and event loops."""

import asyncio
import gc
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import unittest

import carat
from models import base, chat

PROMPT = "Once upon a time"


class Tokens(unittest.TestCase):
    def test_are_those_of_the_command_line(self):
        command = os.environ.get("CARAT_TEST_COMMAND")
        if not command:
            self.skipTest("ABSENT: no command carat")
        args = [command, "run", os.environ["CARAT_TEST_MODEL"], PROMPT, "--json", "-n", "16", "--temperature", "0"]
        told = json.loads(subprocess.run(args, check=True, capture_output=True).stdout)
        outcome = base().stream(PROMPT, temperature=0, max_tokens=16).wait()
        self.assertEqual(outcome.ids, told["ids"])
        self.assertEqual(outcome.text, told["text"])
        self.assertEqual(outcome.logits_hash, told["logits_hash"])
        self.assertEqual(outcome.reason, "length")

    def test_pieces_add_up_to_the_text(self):
        stream = base().stream(PROMPT, temperature=0, max_tokens=24)
        self.assertIsNone(stream.outcome)
        pieces = list(stream)
        self.assertEqual("".join(pieces), stream.text)
        self.assertEqual(stream.outcome.text, stream.text)
        self.assertEqual([i for p in pieces for i in p.ids], stream.outcome.ids)
        self.assertTrue(all(p and p.kind == "text" for p in pieces))

    def test_asynchronous_pieces_are_the_same(self):
        async def read():
            stream = base().stream(PROMPT, temperature=0, max_tokens=24)
            return [p async for p in stream], stream.outcome

        pieces, outcome = asyncio.run(read())
        stream = base().stream(PROMPT, temperature=0, max_tokens=24)
        self.assertEqual(pieces, list(stream))
        self.assertEqual(outcome.logits_hash, stream.outcome.logits_hash)

    def test_a_seed_gives_its_text_again(self):
        texts = [base().generate(PROMPT, temperature=1.0, seed=s, max_tokens=24) for s in (1, 1, 2)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_stops_and_metrics(self):
        text = base().generate(PROMPT, temperature=0, max_tokens=64, stop=" same")
        self.assertNotIn(" same", text)
        stream = base().stream(PROMPT, temperature=0, max_tokens=8, metrics=5)
        stream.wait()
        self.assertEqual([t.id for t in stream.tokens], stream.outcome.ids)
        for token in stream.tokens:
            self.assertEqual((len(token.top), token.rank, token.top[0].id), (5, 1, token.id))
            self.assertLess(token.logprob, 0)

    def test_tokens_and_vectors(self):
        ids = base().tokenize(PROMPT)
        self.assertIn(PROMPT, base().detokenize(ids))
        one, rows = base().embed(PROMPT), base().embed([PROMPT, "A ship"])
        self.assertEqual(list(one), list(rows[0]))
        self.assertAlmostEqual(sum(float(x) ** 2 for x in one), 1, places=4)
        self.assertEqual(list(asyncio.run(base().embed_async(PROMPT))), list(one))


class Ends(unittest.TestCase):
    def test_leaving_a_loop_cancels(self):
        talk = base().conversation()
        stream = talk.stream("Tell me a story", max_tokens=900)
        for _ in stream:
            break
        self.assertEqual(stream.outcome.reason, "cancelled")
        self.assertEqual(list(stream), [])
        talk.respond("And then?", max_tokens=2)

    def test_a_collected_stream_closes(self):
        talk = base().conversation()
        pieces = iter(talk.stream("Tell me a story", max_tokens=900))
        next(pieces)
        del pieces
        gc.collect()
        talk.respond("And then?", max_tokens=2)

    def test_a_stream_keeps_its_conversation(self):
        stream = base().conversation(temperature=0).stream("A ship", max_tokens=40)
        gc.collect()
        self.assertEqual(stream.wait().text, base().conversation(temperature=0).respond("A ship", max_tokens=40))
        self.assertEqual(stream.outcome.reason, "length")

    def test_cancel_keeps_what_was_read(self):
        stream = base().stream(PROMPT, max_tokens=900)
        next(stream)
        stream.cancel()
        outcome = stream.wait()
        self.assertEqual(outcome.reason, "cancelled")
        self.assertEqual(outcome.text, stream.text)
        self.assertLess(len(outcome.ids), 900)

    def test_many_random_ends(self):
        talk, choose = base().conversation(), random.Random(7)
        for _ in range(200):
            stream = talk.stream("Go on", max_tokens=200) if choose.random() < 0.5 else base().stream(PROMPT, max_tokens=200)
            for _ in range(choose.randrange(4)):
                next(stream, None)
            how = choose.randrange(4)
            if how == 0:
                stream.cancel()
                stream.wait()
            elif how == 1:
                stream.close()
                stream.close()
            elif how == 2:
                del stream
            else:
                with stream:
                    pass
            talk.undo()
        self.assertEqual(talk.messages, [])
        self.assertTrue(talk.respond("Hello", max_tokens=4))

    def test_another_thread_closes(self):
        for wait in (0, 0.01, 0.05):
            stream = base().stream(PROMPT, max_tokens=1000)
            thread = threading.Thread(target=lambda s=stream, w=wait: (time.sleep(w), s.close()))
            thread.start()
            for _ in stream:
                time.sleep(0.002)
            thread.join()
            self.assertEqual(stream.outcome.reason, "cancelled")

    def test_a_task_that_is_cancelled_frees_its_conversation(self):
        async def run():
            talk = base().conversation()

            async def read():
                async for _ in talk.stream("Tell me a story", max_tokens=900):
                    await asyncio.sleep(0)

            task = asyncio.create_task(read())
            await asyncio.sleep(0.05)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            return await talk.respond_async("And then?", max_tokens=3)

        self.assertIsInstance(asyncio.run(run()), str)

    def test_leaving_an_asynchronous_loop_frees_its_conversation(self):
        async def run():
            talk = base().conversation()
            for _ in range(10):
                stream = talk.stream("Tell me a story", max_tokens=900)
                async for _ in stream:
                    break
                await talk.respond_async("And then?", max_tokens=2)

        asyncio.run(run())

    @unittest.skipIf(os.name == "nt", "no such signal")
    def test_ctrl_c_ends_a_stream(self):
        code = (
            "import carat, os, sys\n"
            "model = carat.Model.load(os.environ['CARAT_TEST_MODEL'], device='cpu')\n"
            "talk = model.conversation()\n"
            "try:\n"
            "    while True:\n"
            "        for piece in talk.stream('Tell me a story'): print('.', flush=True)\n"
            "        talk.undo()\n"
            "except KeyboardInterrupt:\n"
            "    pass\n"
            "print('then', len(talk.respond('And', max_tokens=2)) >= 0)\n"
        )
        run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(run.stdout.readline(), ".\n")
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 0, err)
        self.assertIn("then True", out)


    @unittest.skipIf(os.name == "nt", "no such signal")
    def test_ctrl_c_ends_a_prompt(self):
        chat()
        code = (
            "import carat, os, threading, signal\n"
            "model = carat.Model.load(os.environ['CARAT_TEST_CHAT_MODEL'], device='cpu', context=8192)\n"
            "stream = model.stream('The ship went over the sea. ' * 900)\n"
            "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
            "try:\n"
            "    next(stream)\n"
            "except KeyboardInterrupt:\n"
            "    print(stream.outcome.reason, stream.outcome.ids)\n"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        self.assertEqual(run.stdout, "cancelled []\n", run.stderr)


class Together(unittest.TestCase):
    def test_two_conversations_at_once_say_what_each_says_alone(self):
        def ask(text):
            return base().conversation(temperature=0).respond(text, max_tokens=40)

        alone = [ask("A ship"), ask("A house")]
        both = [None, None]

        def run(i, text):
            both[i] = ask(text)

        threads = [threading.Thread(target=run, args=p) for p in enumerate(("A ship", "A house"))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(both, alone)

        async def gather():
            talks = [base().conversation(temperature=0) for _ in both]
            asked = zip(talks, ("A ship", "A house"))
            return list(await asyncio.gather(*(t.respond_async(x, max_tokens=40) for t, x in asked)))

        self.assertEqual(asyncio.run(gather()), alone)

    def test_python_runs_while_the_model_computes(self):
        ticks = 0
        done = threading.Event()

        def tick():
            nonlocal ticks
            while not done.is_set():
                ticks += 1
                time.sleep(0.001)

        thread = threading.Thread(target=tick)
        thread.start()
        base().stream(PROMPT, max_tokens=600).wait()
        done.set()
        thread.join()
        self.assertGreater(ticks, 20)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_fork_gets_an_error_and_ends(self):
        model = base()
        child = os.fork()
        if child == 0:
            try:
                model.tokenize("x")
                os._exit(1)
            except carat.CaratError as error:
                os._exit(0 if "forked" in str(error) else 2)
        self.assertEqual(os.waitpid(child, 0)[1], 0)


if __name__ == "__main__":
    unittest.main()
