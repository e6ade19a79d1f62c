#!/usr/bin/env python3
"""Answers short requests with a Carat file and with its source, side by side: greedy, the first tokens of each.

usage: chat.py --carat BIN --source MODEL.gguf --model FILE.gguf [--tokens 16] [--least 14]

The source is a GGUF file of the llama architecture. Its answers come from a pass in f32 that is written here with numpy (PyPI
`numpy`, `gguf`) and shares nothing with Carat but the prompt's tokens. Beside each answer stands the source's lead: by how many
nats its token is ahead of the next likely one, where it is least ahead. Prints a Markdown table, the surest answers first; exit
code 1 where fewer than --least of the twenty surest are equal.
"""
import argparse
import json
import subprocess
import sys

import gguf
import numpy as np

QUESTIONS = [
    "What is the capital of France?",
    "Which planet is known as the Red Planet?",
    "What is 7 plus 5?",
    "Who wrote Romeo and Juliet?",
    "How many days are in a week?",
    "What is the boiling point of water?",
    "Name three primary colors.",
    "What do bees make?",
    "What is the opposite of hot?",
    "Which ocean is the largest?",
    "What language is spoken in Brazil?",
    "What is the largest animal on Earth?",
    "How do you say hello in Spanish?",
    "What is photosynthesis?",
    "What is the chemical formula of water?",
    "Who painted the Mona Lisa?",
    "What is the square root of 81?",
    "Which metal is liquid at room temperature?",
    "What is a prime number?",
    "Why is the sky blue?",
    "Count from one to ten.",
    "Say the alphabet.",
    "Name the days of the week.",
    "Name the months of the year.",
    "Repeat after me: the cat sat on the mat.",
    "Write the numbers from 1 to 8, with commas.",
    "Translate 'thank you' into French.",
    "Name the four seasons.",
    "Spell the word 'house'.",
    "What colors are in the rainbow?",
    "Name the planets of the solar system.",
    "Who was the first president of the United States?",
    "What is the capital of Italy?",
    "Finish the sentence: The quick brown fox",
    "How many legs does a spider have?",
    "What is the freezing point of water?",
    "Give the past tense of 'go'.",
    "What is H2O?",
    "Who discovered penicillin?",
    "Write a Python function that adds two numbers.",
]
# How many of the surest answers are counted.
SUREST = 20


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:2])}: {done.stderr.strip()}")
    return done.stdout


class Llama:
    """A llama checkpoint in f32, one token after the other."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        field = lambda key: reader.fields[f"llama.{key}"].contents()
        self.weights = {
            t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float32).reshape([int(d) for d in reversed(t.shape)])
            for t in reader.tensors
        }
        self.blocks = field("block_count")
        self.heads, self.kv = field("attention.head_count"), field("attention.head_count_kv")
        self.epsilon = field("attention.layer_norm_rms_epsilon")
        width = field("embedding_length") // self.heads
        self.rates = field("rope.freq_base") ** -(np.arange(0, width, 2) / width)

    def norm(self, x, name):
        return x / np.sqrt(np.mean(x * x) + self.epsilon) * self.weights[name]

    def rope(self, x, position):
        # Pairs lie side by side in llama's GGUF files.
        pairs = x.reshape(len(x), -1, 2)
        cos, sin = np.cos(position * self.rates), np.sin(position * self.rates)
        a, b = pairs[..., 0], pairs[..., 1]
        return np.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape).astype(np.float32)

    def step(self, token, position, cache):
        w = self.weights
        x = w["token_embd.weight"][token]
        for b in range(self.blocks):
            at = lambda name: f"blk.{b}.{name}.weight"
            h = self.norm(x, at("attn_norm"))
            q = self.rope((w[at("attn_q")] @ h).reshape(self.heads, -1), position)
            k = self.rope((w[at("attn_k")] @ h).reshape(self.kv, -1), position)
            cache[b].append((k, (w[at("attn_v")] @ h).reshape(self.kv, -1)))
            keys, values = (np.stack([entry[i] for entry in cache[b]], 1) for i in (0, 1))
            each = self.heads // self.kv
            out = []
            for head in range(self.heads):
                scores = keys[head // each] @ q[head] / np.sqrt(q.shape[1])
                p = np.exp(scores - scores.max())
                out.append(p @ values[head // each] / p.sum())
            x = x + w[at("attn_output")] @ np.concatenate(out)
            h = self.norm(x, at("ffn_norm"))
            gate = w[at("ffn_gate")] @ h
            x = x + w[at("ffn_down")] @ (gate / (1 + np.exp(-gate)) * (w[at("ffn_up")] @ h))
        head = w.get("output.weight", w["token_embd.weight"])
        return head @ self.norm(x, "output_norm.weight")

    def greedy(self, prompt, count, ends):
        cache = [[] for _ in range(self.blocks)]
        for position, token in enumerate(prompt):
            logits = self.step(token, position, cache)
        out, lead = [], np.inf
        while len(out) < count:
            second, first = np.argpartition(logits, -2)[-2:]
            first, second = sorted((int(first), int(second)), key=lambda i: -logits[i])
            lead = min(lead, float(logits[first] - logits[second]))
            if first in ends:
                break
            out.append(first)
            logits = self.step(first, len(prompt) + len(out) - 1, cache)
        return out, lead


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--carat", required=True)
    p.add_argument("--source", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--tokens", type=int, default=16)
    p.add_argument("--least", type=int, default=14)
    a = p.parse_args()
    source = Llama(a.source)
    tokens = gguf.GGUFReader(a.source).fields["tokenizer.ggml.tokens"].contents()
    ends = {i for i, t in enumerate(tokens) if t in ("<|im_end|>", "<|endoftext|>")}
    spell = {" ": "Ġ", "\n": "Ċ"}
    plain = lambda text: text.replace("Ġ", " ").replace("Ċ", " ").replace("|", "\\|")
    rows = []
    for question in QUESTIONS:
        messages = json.dumps([{"role": "user", "content": question}])
        prompt = run(a.carat, "template", a.model, "--messages", "-", text=messages)
        ids = json.loads(run(a.carat, "tokenize", a.model, "--text", "-", "--special", "--json", text=prompt))["ids"]
        theirs, lead = source.greedy(ids, a.tokens, ends)
        answer = json.loads(run(a.carat, "run", a.model, "--messages", "-", "-n", str(a.tokens), "--temp", "0", "--device",
                                "cpu", "--json", text=messages))
        ours = [i for i in answer["ids"] if i not in ends]
        rows.append((lead, question, theirs, ours))
        print(f"{len(rows)} of {len(QUESTIONS)}", end="\r", file=sys.stderr, flush=True)
    rows.sort(reverse=True)
    words = lambda ids: plain("".join(tokens[i] for i in ids)).strip()
    print(f"| lead | request | the source's first {a.tokens} tokens | Carat's | |\n|---|---|---|---|---|")
    for lead, question, theirs, ours in rows:
        print(f"| {lead:.2f} | {question} | {words(theirs)} | {words(ours)} | {'equal' if ours == theirs else ''} |")
    equal = [ours == theirs for _, _, theirs, ours in rows]
    sure = sum(equal[:SUREST])
    print(f"\n{sum(equal)} of {len(rows)} are equal, and {sure} of the {SUREST} surest.")
    sys.exit(sure < a.least)


main()
