"""The models of the tests: each is opened once."""

import functools
import os
import unittest

import carat


@functools.lru_cache(None)
def base() -> carat.Model:
    """A model that goes on with texts; it has a chat template and follows no instruction."""
    return carat.Model.load(os.environ["CARAT_TEST_MODEL"], device="cpu")


@functools.lru_cache(None)
def chat() -> carat.Model:
    """A model that was trained to chat."""
    path = os.environ.get("CARAT_TEST_CHAT_MODEL")
    if not path:
        raise unittest.SkipTest("ABSENT: no model that chats; give check.sh one")
    return carat.Model.load(path, device="cpu", context=2048)


def module(name: str):
    """A package that is optional."""
    try:
        return __import__(name, fromlist=["*"])
    except ImportError as error:
        raise unittest.SkipTest(f"ABSENT: {error}") from None
