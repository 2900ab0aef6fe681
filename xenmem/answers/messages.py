"""The messages that a pool in memory answers, as they are declared. Computes nothing."""

from xenmem.answers.naming import Answer, QuestionError, Result
from xenmem.datamodel import CLASSES
from xenmem.text import counted
from xenmem.xenapi import messages
from xenmem.xenapi.calls.message import REQUIRED, Message, find, of_class


class ParameterDeclaration(Result, frozen=True):
    """A parameter; `default` is None where there is none."""

    name: str
    type: str
    default: str | None


class MessageDeclaration(Result, frozen=True):
    """A message.

    Attributes
    ----------
    name : in full
    parameters : without the session, which comes first
    result : type of the answer
    role : least role that may send it
    has_async : there is an Async form
    errors : codes and their parameters, beside those that every call may answer
    since : release of xapi that brought it; empty if it was always there
    generated : it reads or sets a field, or lists rows, as every class has it
    standing : how far it does what the reference's does, or how it is refused
    doc : the first line is a summary
    """

    name: str
    parameters: list[ParameterDeclaration]
    result: str
    role: str
    has_async: bool
    errors: list[str]
    since: str
    generated: bool
    standing: str
    doc: str


class Declarations(Answer, frozen=True):
    """Messages, in order of class and name."""

    messages: list[MessageDeclaration]


def declarations(name: str = "", *, generated: bool = False) -> Declarations:
    """The declarations of messages.

    Parameters
    ----------
    name : of a message, in either spelling, or of a class; by default all
    generated : also those that follow from the fields; a message asked for by its name is always shown

    Raises
    ------
    QuestionError : there is no such message or class
    """
    message = find(name)[0] if name else None
    if message is not None:
        return _answer([_declaration(message)])
    classes = sorted({message.class_name for message in messages.all_messages()} | CLASSES.keys())
    if name and name not in classes:
        raise QuestionError(f"there is no message or class {name!r}; classes: {', '.join(classes)}")
    return _answer(
        [
            _declaration(message)
            for class_name in ([name] if name else classes)
            for message in of_class(class_name)
            if generated or not message.generated
        ]
    )


def _answer(found: list[MessageDeclaration]) -> Declarations:
    if len(found) == 1:
        verdict = f"{found[0].name}: {found[0].doc.partition(chr(10))[0]}"
    else:
        verdict = f"A pool in memory answers {counted(len(found), 'message')} here."
    return Declarations(verdict, "yes", found)


def _declaration(message: Message) -> MessageDeclaration:
    return MessageDeclaration(
        name=message.full_name,
        parameters=[
            ParameterDeclaration(
                parameter.name, parameter.type.name, None if parameter.default is REQUIRED else repr(parameter.default)
            )
            for parameter in message.parameters
        ],
        result=message.result.name,
        role=message.role.name.lower().replace("_", "-"),
        has_async=message.is_async,
        errors=[" ".join((code.name, f"[{'; '.join(code.parameters)}]")) for code in message.errors],
        since=message.since,
        generated=message.generated,
        standing=message.standing.value,
        doc=message.doc,
    )
