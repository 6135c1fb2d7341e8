"""A Gradio application that answers word by word: python gradio_words.py PORT; with an ADDRESS, its client."""

import sys

import gradio
import gradio_client


def words(text):
    """The text so far, with each word more."""
    parts = text.split()
    for end in range(len(parts)):
        yield " ".join(parts[: end + 1])


if sys.argv[1].isdigit():
    shown = gradio.Interface(words, "text", "text", api_name="words", title="Behind the gateway")
    shown.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
else:
    job = gradio_client.Client(sys.argv[1], verbose=False).submit("one by one", api_name="/words")
    assert job.result(timeout=60) == "one by one"
    assert job.outputs() == ["one", "one by", "one by one"], job.outputs()
    print("good")
