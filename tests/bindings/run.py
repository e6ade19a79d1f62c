#!/usr/bin/env python3
"""Tells the drivers of every language the same, and compares what they answer.

    run.py --model X.gguf --carat target/release/carat NAME=COMMAND...

A driver reads acts on standard input and prints a line of JSON for each (see driver.c). Of a case

* `code`     is the error that must come;
* `command`  is a command of `carat` that must give the same ids and the same hash;
* `has`      are fields that the answer must have;
* `calls`    is how many calls of tools it must have;
* `as`       names answers that must be the same within a driver;
* `loose`    says that where it ends is a matter of time.

Everything else must be the same in all drivers, but for times and devices. Without `--chat`, a model with a chat template, the
cases of conversations with tools are left out, which is said.
"""
import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# What differs from run to run.
LOOSE = {"msToFirstToken", "tokensPerSecond", "device", "message", "live", "cachedTokens"}
TIMES = "100"


def escaped(field):
    return field.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


class Driver:
    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def ask(self, fields):
        self.process.stdin.write("\t".join(map(escaped, fields)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: ended with {self.process.wait()} at {fields[0]}")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=60)


def comparable(answer):
    return {k: v for k, v in answer.items() if k not in LOOSE}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--chat")
    parser.add_argument("--carat", required=True)
    parser.add_argument("--times", default=TIMES, help="texts that end at random places")
    parser.add_argument("drivers", nargs="+", metavar="NAME=COMMAND")
    args = parser.parse_args()
    cases = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
    groups = [("cases", cases["cases"])]
    if args.chat:
        groups.append(("chat", cases["chat"]))
    else:
        print("ABSENT: no --chat MODEL: conversations with tools are left out")
    expected, first, failures = {}, {}, 0
    with tempfile.TemporaryDirectory() as tmp:
        known = {"model": args.model, "chat": args.chat or "", "here": str(HERE), "times": args.times}

        def filled(text, name):
            for key, value in {**known, "tmp": f"{tmp}/{name}"}.items():
                text = text.replace("{" + key + "}", value)
            return text

        for _, group in groups:
            for case in group:
                if "command" in case and str(case["command"]) not in expected:
                    command = [args.carat, *(filled(f, "") for f in case["command"])]
                    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    expected[str(case["command"])] = json.loads(out)
        for driver in args.drivers:
            name, _, command = driver.partition("=")
            pathlib.Path(tmp, name).mkdir()
            driver, same, wrong = Driver(name, command), {}, []
            for title, group in groups:
                for case in group:
                    answer = driver.ask([filled(f, name) for f in case["do"]])
                    key = f"{title}: {case['name']}"
                    say = lambda what: wrong.append(f"{key}: {what}: {json.dumps(answer, ensure_ascii=False)[:400]}")
                    if "code" in case:
                        if answer.get("code") != case["code"]:
                            say(f"expected the error {case['code']}")
                        elif len(answer.get("message", "")) < 10:
                            say("the error says nothing")
                        continue
                    if "code" in answer:
                        say("an error")
                        continue
                    if "command" in case:
                        want = expected[str(case["command"])]
                        if (answer["ids"], answer["logitsHash"]) != (want["ids"], want["logits_hash"]):
                            say(f"the command line has {want['ids']} {want['logits_hash']}")
                    for field, value in case.get("has", {}).items():
                        if str(answer.get(field)) != str(value):
                            say(f"expected {field} = {value}")
                    if len(answer.get("calls", [])) != case.get("calls", 0) and "ids" in answer and title == "chat":
                        say(f"expected {case.get('calls', 0)} calls")
                    if answer.get("live", 0) != 0:
                        say("objects are left")
                    if case.get("loose"):
                        continue
                    if "as" in case and comparable(same.setdefault(case["as"], answer)) != comparable(answer):
                        say(f"expected {json.dumps(comparable(same[case['as']]))}")
                    if comparable(first.setdefault(key, answer)) != comparable(answer):
                        say(f"expected, as the first driver has it, {json.dumps(comparable(first[key]))[:400]}")
            code = driver.end()
            if code != 0:
                wrong.append(f"the driver ended with {code}")
            failures += len(wrong)
            total = sum(len(g) for _, g in groups)
            print(f"{name}: {total - len(wrong)} of {total} cases" if wrong else f"{name}: {total} cases, all as wanted")
            for line in wrong:
                print(f"  FAILED {line}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
