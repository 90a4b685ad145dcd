"""The functions with which bash, zsh and fish ask `rag` and `ingest` for completions; see `completion_values`.

None needs anything beyond the shell itself: neither the package bash-completion nor a call of compinit.
"""

from __future__ import annotations

SHELLS = ("bash", "zsh", "fish")
COMMANDS = ("rag", "ingest")

_MARK = "# Written by `rag completion`, which also takes it out again: rag completion --remove"

# `compopt` came with bash 4; without it file names are not completed, and everything else is.
BASH = f"""\
{_MARK}
_rag_ingest_completion() {{
    local IFS=$'\\n' kind value help looked='' program="${{2/#\\~\\//$HOME/}}"
    COMPREPLY=()
    while IFS=$'\\t' read -r kind value help; do
        case "$kind" in
            value)
                case "${{COMP_WORDS[COMP_CWORD]}}" in
                    # Values come from documents: between quotes none may hold what the shell would obey there.
                    \\"*) case "$value" in *[\\"\\$\\`\\\\!]*) ;; *) COMPREPLY+=("$value") ;; esac ;;
                    \\'*) case "$value" in *[\\'!]*) ;; *) COMPREPLY+=("$value") ;; esac ;;
                    *) COMPREPLY+=("$(printf %q "$value")") ;;
                esac ;;
            path) COMPREPLY+=("$value"); compopt -o filenames 2>/dev/null ;;
            file | dir) looked=$kind ;;
        esac
    done < <(env "$1=words" "_RAG_LINE=${{COMP_LINE:0:COMP_POINT}}" "_RAG_WORD=$3" "$program" 2>/dev/null)
    if [ -n "$looked" ]; then
        if [ "${{#COMPREPLY[@]}}" -eq 0 ]; then
            # The shell's own way, which knows about quotes and ~.
            if [ "$looked" = dir ]; then compopt -o dirnames 2>/dev/null; else compopt -o default 2>/dev/null; fi
        else
            compopt -o filenames 2>/dev/null
            if [ "$looked" = dir ]; then COMPREPLY+=($(compgen -d -- "$3")); else COMPREPLY+=($(compgen -f -- "$3")); fi
        fi
    fi
}}
_rag_completion() {{ _rag_ingest_completion _RAG_COMPLETE "$1" "$2"; }}
_ingest_completion() {{ _rag_ingest_completion _INGEST_COMPLETE "$1" "$2"; }}
complete -F _rag_completion rag
complete -F _ingest_completion ingest
"""

_ZSH_BODY = """\
local -a described plain
local kind value help looked variable=_RAG_COMPLETE program=${(Q)words[1]}
[[ ${program:t} == ingest ]] && variable=_INGEST_COMPLETE
program=${program/#\\~\\//$HOME/}
while IFS=$'\\t' read -r kind value help; do
    case $kind in
        (value|path)
            if [[ -n $help ]]; then described+=("${value//:/\\\\:}:$help"); else plain+=("$value"); fi ;;
        (file|dir) looked=$kind ;;
    esac
done < <(env $variable=words $program "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
(( $#described )) && _describe -V 'rag' described
(( $#plain )) && compadd -a plain
[[ $looked == file ]] && _files
[[ $looked == dir ]] && _files -/
return 0
"""

ZSH_FUNCTION = f"#compdef rag ingest\n{_MARK}\n{_ZSH_BODY}"
"""A file for a folder of `fpath`, called `_rag`."""

ZSH = f"""\
{_MARK}
_rag() {{
{_ZSH_BODY}}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i }}
compdef _rag rag ingest
"""


def fish(command: str) -> str:
    """The completions of one command, as fish loads them from a file of its name."""
    return f"""\
{_MARK}
function __{command}_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l current (string unescape -- "$typed"; or string trim -l -c '"\\'' -- "$typed")
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    for line in (env _{command.upper()}_COMPLETE=words $program $words[2..-1] "$current" 2>/dev/null)
        set -l parts (string split \\t -- $line)
        switch $parts[1]
            case value path
                printf '%s\\t%s\\n' $parts[2] $parts[3]
            case file
                __fish_complete_path "$current"
            case dir
                __fish_complete_directories "$current"
        end
    end
end
complete --command {command} --no-files --keep-order --arguments '(__{command}_complete)'
"""


def script(shell: str) -> str:
    """All that `shell` needs for both commands, to be evaluated by it."""
    return {"bash": BASH, "zsh": ZSH, "fish": "".join(fish(command) for command in COMMANDS)}[shell]


def is_ours(text: str) -> bool:
    """Whether `rag completion` has written the file."""
    return _MARK in text
