"""Our GPT as LangChain's `BaseChatModel`, and the pipeline composed of its runnables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from pydantic import ConfigDict

from fmnotes.rag.reader import Reader

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.runnables import Runnable

    from fmnotes.retrieval.retriever import PageRetriever


class ChatMuseum(BaseChatModel):
    """A `Reader` that takes messages: system messages are pages, in their order, the last human one is the question.

    What was said before it is not read: the model was never taught to converse.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    reader: Reader
    model_name: str = "gpt2-museum"

    @property
    def _llm_type(self) -> str:
        return "fmnotes"

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        question, pages = asked(messages)
        pieces, said = _until(self.reader.stream(question, pages), stop or []), ""
        for piece in pieces:
            said += piece
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk
        tokens = len(self.reader.prompt(question, pages)), len(self.reader.tokenizer.encode(said))
        usage = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
        last = AIMessageChunk(content="", usage_metadata=usage, response_metadata={"model_name": self.model_name})
        last.chunk_position = "last"
        yield ChatGenerationChunk(message=last)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = [chunk.message for chunk in self._stream(messages, stop)]
        message = AIMessage(
            content="".join(chunk.text for chunk in chunks),
            usage_metadata=chunks[-1].usage_metadata,
            response_metadata=chunks[-1].response_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def asked(messages: Sequence[BaseMessage]) -> tuple[str, list[str]]:
    """The question and the pages that messages hold.

    Raises:
        ValueError: if no human message is among them.
    """
    questions = [message.text for message in messages if isinstance(message, HumanMessage)]
    if not questions:
        raise ValueError("no human message is there: the last one is the question")
    return questions[-1], [message.text for message in messages if isinstance(message, SystemMessage)]


def messages(found: dict[str, Any]) -> list[BaseMessage]:
    """{"pages": documents, "question": text} as messages."""
    pages: list[Document] = found["pages"]
    return [*(SystemMessage(page.page_content) for page in pages), HumanMessage(found["question"])]


def chain(retriever: PageRetriever, chat: ChatMuseum) -> Runnable[str, dict]:
    """The pipeline of LangChain's runnables: a question in, {"question", "pages", "answer"} out."""
    found = RunnableParallel(pages=retriever, question=RunnablePassthrough())
    return found | RunnablePassthrough.assign(answer=RunnableLambda(messages) | chat | StrOutputParser())


def _until(pieces: Iterator[str], stop: Sequence[str]) -> Iterator[str]:
    """Pieces up to where one of the stop sequences begins; a piece is held back while it may be a part of one."""
    held = ""
    for piece in pieces:
        held += piece
        ends = [held.index(word) for word in stop if word in held]
        if ends:
            if held[: min(ends)]:
                yield held[: min(ends)]
            return
        kept = max((n for word in stop for n in range(1, len(word)) if held.endswith(word[:n])), default=0)
        if len(held) > kept:
            yield held[: len(held) - kept]
            held = held[len(held) - kept :]
    if held:
        yield held
