# bash completion of postern and of the commands that administrators type: values that are looked up
# (queue ids, parameters, table types, services, instances) are those of this moment.

_postern_reply() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "${COMP_WORDS[COMP_CWORD]}")
}

# The word as it is typed, though bash parts words at : and =. Sets word, and cut: what bash has
# taken off its front.
_postern_whole_word() {
  local i=$COMP_CWORD
  word=${COMP_WORDS[i]} cut=
  while ((i > 1)) && [[ ${COMP_WORDS[i]} == [:=]* || ${COMP_WORDS[i - 1]} == [:=] ]]; do
    ((i--))
    word=${COMP_WORDS[i]}$word
  done
  cut=${word%"${COMP_WORDS[COMP_CWORD]}"}
  [[ ${COMP_WORDS[COMP_CWORD]} == [:=] ]] && cut=$word
}

_postern_parameters() {
  local word cut
  _postern_whole_word
  if [[ $word == *=* ]]; then
    # What it is now, to be changed.
    local name=${word%%=*} value
    value=$(postconf -h "$name" 2>/dev/null)
    [[ -n $value && $value == "${word#*=}"* && $value != *' '* ]] && COMPREPLY=("$value")
    return
  fi
  _postern_reply "$(postconf -dH 2>/dev/null; postconf -nH 2>/dev/null) $1"
}

_postern_ids() {
  _postern_reply "$(postqueue -j 2>/dev/null | sed -n 's/.*"queue_id": "\([^"]*\)".*/\1/p') $1"
}

_postern_services() {
  _postern_reply "$(postconf -M 2>/dev/null | awk '{ print $1 "/" $2 }')"
}

_postern_postconf() {
  local i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      -*[MFP]*) _postern_services; return ;;
      -*[lmaA]*) return ;;
    esac
  done
  case ${COMP_WORDS[COMP_CWORD - 1]} in
    -c) mapfile -t COMPREPLY < <(compgen -d -- "${COMP_WORDS[COMP_CWORD]}") ;;
    -C) _postern_reply "builtin service user all" ;;
    -T) _postern_reply "compile-version run-version public-key-algorithms" ;;
    -b | -t) mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}") ;;
    *)
      if [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
        _postern_reply "-a -A -b -c -C -d -e -f -F -h -H -j -l -m -M -n -o -p -P -t -T -v -x -X -#"
      else
        _postern_parameters
      fi
      ;;
  esac
}

_postern() {
  local current=${COMP_WORDS[COMP_CWORD]}
  case "${COMP_CWORD}:${COMP_WORDS[1]}" in
    1:*) _postern_reply "abort ban check config dkim dns doctor explain flush greylist logrotate \
password queue quota reload report set-permissions start start-fg status stop tls \
trace upgrade-configuration why" ;;
    2:config) _postern_reply "diff get man set show undo unset" ;;
    *:config) _postern_parameters "--dry-run" ;;
    2:queue) _postern_reply "delete expire hold list release retry show" ;;
    *:queue)
      case ${COMP_WORDS[COMP_CWORD - 1]} in
        --queue) _postern_reply "maildrop incoming active deferred hold" ;;
        --group) _postern_reply "reason domain sender" ;;
        *)
          if [[ $current == -* ]]; then
            _postern_reply "--all --domain --dry-run --group --json --larger --older --queue \
--reason --recipient --sender --smaller --younger"
          else
            _postern_ids
          fi
          ;;
      esac
      ;;
    *:why) _postern_ids "--json" ;;
    *:flush) _postern_reply "--json --time --wait" ;;
    *:trace) _postern_ids "--client --json --live --time" ;;
    *:check) _postern_reply "--json --strict" ;;
    2:ban) _postern_reply "add list remove" ;;
    2:dkim) _postern_reply "list new record rotate test" ;;
    *:dns) _postern_reply "--zone" ;;
    *:explain) _postern_reply "--auth --client --from --helo --name --service --to" ;;
    2:greylist) _postern_reply "allow disallow list stats" ;;
    2:quota) _postern_reply "list reset" ;;
    2:report) _postern_reply "dmarc tls" ;;
    *:report) _postern_reply "--collected --send --svg" ;;
    *:password) _postern_reply "--check --scheme" ;;
    2:tls) _postern_reply "all-default-client all-default-server deploy-server-cert enable-client \
enable-server new-server-cert new-server-key output-server-csr output-server-tlsa test" ;;
  esac
}

_postern_postmap() {
  local word cut
  _postern_whole_word
  if [[ $word == -* ]]; then
    _postern_reply "-b -c -d -f -F -h -i -j -m -n -N -o -p -q -r -s -u -v -w"
  elif [[ $word == *:* ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "${word#*:}")
  else
    mapfile -t COMPREPLY < <(compgen -S : -W "$(postconf -m 2>/dev/null)" -- "$word"
                             compgen -f -- "$word")
  fi
}

_postern_postsuper() {
  if [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
    _postern_reply "-c -d -e -f -h -H -p -r -s -S -v"
  elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == -[psS] ]]; then
    _postern_reply "maildrop incoming active deferred hold"
  else
    _postern_ids ALL
  fi
}

_postern_postcat() {
  if [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
    _postern_reply "-b -c -d -e -f -h -o -q -r -s -v"
  else
    _postern_ids
  fi
}

_postern_postqueue() {
  case ${COMP_WORDS[COMP_CWORD - 1]} in
    -i) _postern_ids ;;
    -s) ;;
    *) _postern_reply "-c -f -i -j -p -s -v" ;;
  esac
}

_postern_postmulti() {
  case ${COMP_WORDS[COMP_CWORD - 1]} in
    -e) _postern_reply "assign create deport destroy disable enable import init" ;;
    -i) _postern_reply "- $(postmulti -l 2>/dev/null | awk '{ print ($1 == "-") ? $4 : $1 }')" ;;
    -g) _postern_reply "$(postmulti -l 2>/dev/null | awk '$2 != "-" { print $2 }')" ;;
    -p) _postern_reply "abort check flush reload start status stop" ;;
    *) _postern_reply "-a -e -g -G -i -I -l -p -R -v -x" ;;
  esac
}

_postern_qshape() {
  if [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
    _postern_reply "-b -c -l -m -N -n -p -s -t -w"
  else
    _postern_reply "incoming active deferred hold maildrop"
  fi
}

complete -F _postern postern postfix
complete -F _postern_postconf postconf
complete -o nospace -F _postern_postmap postmap postalias
complete -F _postern_postsuper postsuper
complete -F _postern_postcat postcat
complete -F _postern_postqueue postqueue
complete -F _postern_postmulti postmulti
complete -F _postern_qshape qshape
