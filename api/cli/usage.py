"""Help and usage errors in Chinese: the command line library speaks English."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from typer import rich_utils

_HEADINGS = {
    "ARGUMENTS_PANEL_TITLE": "参数",
    "OPTIONS_PANEL_TITLE": "选项",
    "COMMANDS_PANEL_TITLE": "命令",
    "DEFAULT_STRING": "[默认：{}]",
    "ENVVAR_STRING": "[环境变量：{}]",
    "REQUIRED_LONG_STRING": "[必填]",
}

_MESSAGES = tuple(
    (re.compile(pattern, re.DOTALL), chinese)
    for pattern, chinese in (
        (r"No such command '(?P<a>.*?)'\.(?: Did you mean (?P<b>.+)\?)?", "没有命令 {a}"),
        (r"No such option: (?P<a>\S+)(?: \(Possible options: (?P<b>.+)\))?", "没有选项 {a}"),
        (r"Missing command\.", "没有写命令"),
        (r"Missing (?:argument|option|parameter) '(?P<a>.*?)'\.?.*", "缺少 {a}"),
        (r"Got unexpected extra arguments? ?\((?P<a>.*)\)", "多余的参数 {a}"),
        (r"Got unexpected extra argument\(s\) \((?P<a>.*)\)", "多余的参数 {a}"),
        (r"Option '(?P<a>.*?)' requires (?:an argument|\d+ arguments)\.", "选项 {a} 后面要写值"),
        (r"Option '(?P<a>.*?)' does not take a value\.", "选项 {a} 后面不能写值"),
        (r"Invalid value for '(?P<a>.*?)': .*?is not one of (?P<b>.+)", "{a} 的值无效"),
        (r"Invalid value for '(?P<a>.*?)'.*", "{a} 的值无效"),
    )
)


def in_chinese(message: str) -> str:
    """A usage error as a Chinese line; one that is not known keeps its own words."""
    for pattern, chinese in _MESSAGES:
        found = pattern.fullmatch(message.strip())
        if found:
            names: Mapping[str, Any] = found.groupdict()
            hint = names.get("b")
            line = chinese.format_map({key: value or "" for key, value in names.items()})
            if hint:
                joined = "、".join(re.findall(r"'([^']+)'", hint)) or hint.rstrip(".")
                line += f"；可用的是：{joined}"
            return line
    return f"命令行有误：{message}"


def speak_chinese(command: Any) -> Any:
    """Turn the fixed texts of a command and all below it into Chinese; gives the command."""
    for name, text in _HEADINGS.items():
        setattr(rich_utils, name, text)
    usage = command.get_usage
    help_option = command.get_help_option

    def get_usage(context: Any) -> str:
        text: str = usage(context)
        return (
            text.replace("Usage:", "用法：", 1)
            .replace("[OPTIONS]", "[选项]")
            .replace("COMMAND [ARGS]...", "命令 …")
        )

    def get_help_option(context: Any) -> Any:
        option = help_option(context)
        if option is not None:
            option.help = "显示帮助。"
        return option

    command.get_usage, command.get_help_option = get_usage, get_help_option
    for one in getattr(command, "commands", {}).values():
        speak_chinese(one)
    return command
