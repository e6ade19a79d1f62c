"""Functions that the model calls: python tools.py MODEL.gguf"""

import sys

import carat


def add(a: float, b: float) -> float:
    """Adds two numbers.

    Args:
        a: The first number.
        b: The second number.
    """
    return a + b


with carat.Model.load(sys.argv[1]) as model:
    conversation = model.conversation(tools=[add], temperature=0)
    # A small model calls a tool where it must: `required` holds for the first answer.
    with conversation.stream("What is 17.5 and 24.5 together?", tool_choice="required", max_tokens=100) as stream:
        for piece in stream.parts():
            if piece.kind == "call":
                print(f"\ntool {piece.call.name}{piece.call.arguments}")
            elif piece.kind == "result":
                print(f"tool gives {piece}")
            else:
                print(piece, end="", flush=True)
    print()
