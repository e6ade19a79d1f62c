"""A chat in the terminal: python chat.py MODEL.gguf"""

import sys

import carat

with carat.Model.load(sys.argv[1]) as model:
    conversation = model.conversation(system="You are a friendly assistant.", temperature=0.7)
    for line in sys.stdin:
        # Ctrl-C ends the program, also within an answer.
        for piece in conversation.stream(line.strip(), max_tokens=300):
            print(piece, end="", flush=True)
        print()
