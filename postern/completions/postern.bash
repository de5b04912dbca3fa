# bash completion of postern, postconf, postmap, postqueue and postsuper.

_postern_words() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "${COMP_WORDS[COMP_CWORD]}")
}

_postern_parameters() { _postern_words "$(postconf -dH 2>/dev/null)"; }

_postern_ids() {
  _postern_words "$(postqueue -j 2>/dev/null | sed -n 's/.*"queue_id": "\([^"]*\)".*/\1/p')"
}

_postern() {
  case "${COMP_CWORD}:${COMP_WORDS[1]}" in
    1:*) _postern_words "abort ban check config explain flush greylist logrotate password queue reload set-permissions start \
start-fg status stop upgrade-configuration why" ;;
    2:config) _postern_words "diff get man set undo unset" ;;
    *:config) _postern_parameters ;;
    2:queue) _postern_words "delete expire hold list release retry show" ;;
    *:queue)
      if [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
        _postern_words "--all --domain --dry-run --group --json --larger --older --queue --reason \
--recipient --sender --smaller --younger"
      else
        _postern_ids
      fi
      ;;
    *:why) _postern_ids ;;
    *:check) _postern_words "--json --strict" ;;
  esac
}

_postern_postmap() {
  if [[ ${COMP_WORDS[COMP_CWORD]} == *:* ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]#*:}")
  else
    mapfile -t COMPREPLY < <(compgen -S : -W "$(postconf -m 2>/dev/null)" -- \
      "${COMP_WORDS[COMP_CWORD]}"; compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
  fi
}

complete -F _postern postern postfix
complete -F _postern_parameters postconf
complete -o nospace -F _postern_postmap postmap postalias
complete -F _postern_ids postsuper postcat
