"""lm-eval's local-completions against `carat serve`: its log-likelihoods are those of `carat eval`.

    python tests/server/with_lm_eval.py PROGRAM MODEL.gguf TEXT

Packages: `pip install 'lm-eval[api]==0.4.13'`. TEXT is cut as `carat eval` cuts it; lm-eval gets the first half of each chunk as context
and the second as continuation.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from harness import Server

CTX = 256
# Nats a token: eval's logits are f32, the server's log-probabilities f64.
TOLERANCE = 1e-6


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def main():
    program, model, text = sys.argv[1:4]
    done = subprocess.run([program, "eval", model, "--text", text, "--ctx", str(CTX), "--device", "cpu", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours = json.loads(done.stdout)
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", OPENAI_API_KEY="none")
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    served = Server(program, model, "--ctx", 1024, "--device", "cpu")
    url = f"http://{served.host}:{served.port}"
    with tempfile.TemporaryDirectory() as place:
        ids = post(f"{url}/tokenize", {"content": Path(text).read_text(), "add_special": False, "parse_special": False})["tokens"]
        # What a chunk of eval scores: the predictions from its middle on.
        cut = CTX // 2 + 1
        docs = []
        for start in range(0, len(ids) - CTX + 1, CTX):
            chunk = ids[start : start + CTX]
            halves = [post(f"{url}/detokenize", {"tokens": part})["content"] for part in (chunk[:cut], chunk[cut:])]
            again = [post(f"{url}/tokenize", {"content": half, "parse_special": False})["tokens"] for half in ("".join(halves), halves[0])]
            assert again == [chunk, chunk[:cut]], "the text does not come back as the same tokens; take another one"
            docs.append({"context": halves[0], "continuation": halves[1]})
        Path(place, "docs.json").write_text("\n".join(map(json.dumps, docs)))
        Path(place, "halves.yaml").write_text(
            f"""task: halves
dataset_path: json
dataset_kwargs: {{data_files: {{test: {place}/docs.json}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{context}}}}"
doc_to_target: "{{{{continuation}}}}"
target_delimiter: ""
metric_list: [{{metric: perplexity}}]
"""
        )
        found = simple_evaluate(
            model="local-completions",
            model_args={
                "base_url": f"{url}/v1/completions",
                "model": "here",
                "tokenizer_backend": "remote",
                "tokenized_requests": True,
                "max_length": 4096,
                "num_concurrent": 1,
            },
            tasks=["halves"],
            task_manager=TaskManager(include_path=place),
            log_samples=True,
            bootstrap_iters=0,
        )
        theirs = [sample["resps"][0][0][0] for sample in found["samples"]["halves"]]
    served.end()
    nats = math.log(ours["ppl"]) * ours["tokens"]
    sum_of_theirs = -sum(float(x) for x in theirs)
    print(f"lm-eval: {len(theirs)} texts, {ours['tokens']} tokens, {sum_of_theirs:.9f} nats; carat eval: {nats:.9f}")
    assert abs(sum_of_theirs - nats) <= TOLERANCE * ours["tokens"], "the two differ"


main()
