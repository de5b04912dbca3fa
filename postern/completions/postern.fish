# fish completion: values that are looked up are those of this moment.

function __postern_parameters
    set -l word (commandline -ct)
    if string match -q '*=*' -- $word
        set -l name (string split -m 1 = -- $word)[1]
        echo $name=(postconf -h $name 2>/dev/null)
        return
    end
    postconf -dH 2>/dev/null
    postconf -nH 2>/dev/null
end

function __postern_ids
    postqueue -j 2>/dev/null | string match -rg '"queue_id": "([^"]*)"'
end

function __postern_services
    postconf -M 2>/dev/null | string replace -r '^(\S+)\s+(\S+).*' '$1/$2'
end

function __postern_tables
    set -l word (commandline -ct)
    if string match -q '*:*' -- $word
        set -l type (string split -m 1 : -- $word)
        for path in (__fish_complete_path $type[2])
            echo "$type[1]:$path"
        end
        return
    end
    string replace -r '$' ':' -- (postconf -m 2>/dev/null)
    __fish_complete_path $word
end

function __postern_instances
    echo -
    postmulti -l 2>/dev/null | string replace -r '^(\S+)\s+\S+\s+\S+\s+(.*)' '$1 $2' | while read name directory
        test $name = - && echo $directory || echo $name
    end
end

# The verb of postern, and the word behind it.
function __postern_at
    set -l words (commandline -opc)
    test (count $words) -eq $argv[1]
    or return 1
    test (count $argv) -lt 2
    or test "$words[2]" = $argv[2]
end

function __postern_after
    test (commandline -opc)[-1] = $argv[1]
end

for name in postern postfix
    complete -c $name -f
    complete -c $name -n '__postern_at 1' -a 'abort ban check config dkim dns doctor explain flush greylist logrotate password queue quota reload report set-permissions start start-fg status stop tls trace upgrade-configuration why'
    complete -c $name -n '__postern_at 2 config' -a 'diff get man set show undo unset'
    complete -c $name -n '__fish_seen_subcommand_from config; and not __postern_at 2 config' -a '(__postern_parameters)'
    complete -c $name -n '__fish_seen_subcommand_from config' -l dry-run
    complete -c $name -n '__postern_at 2 queue' -a 'delete expire hold list release retry show'
    complete -c $name -n '__fish_seen_subcommand_from queue; and not __postern_at 2 queue' -a '(__postern_ids)'
    for option in domain larger older reason recipient sender smaller younger
        complete -c $name -n '__fish_seen_subcommand_from queue' -l $option -x
    end
    for option in all dry-run json
        complete -c $name -n '__fish_seen_subcommand_from queue' -l $option
    end
    complete -c $name -n '__fish_seen_subcommand_from queue' -l queue -x -a 'maildrop incoming active deferred hold'
    complete -c $name -n '__fish_seen_subcommand_from queue' -l group -x -a 'reason domain sender'
    complete -c $name -n '__fish_seen_subcommand_from why' -a '(__postern_ids)'
    complete -c $name -n '__fish_seen_subcommand_from trace' -a '(__postern_ids)'
    complete -c $name -n '__fish_seen_subcommand_from trace' -l live
    complete -c $name -n '__fish_seen_subcommand_from trace' -l client -x
    complete -c $name -n '__fish_seen_subcommand_from flush' -l wait
    complete -c $name -n '__fish_seen_subcommand_from flush trace' -l time -x
    complete -c $name -n '__fish_seen_subcommand_from why check flush trace' -l json
    complete -c $name -n '__fish_seen_subcommand_from check' -l strict
    complete -c $name -n '__postern_at 2 ban' -a 'add list remove'
    complete -c $name -n '__postern_at 2 dkim' -a 'list new record rotate test'
    complete -c $name -n '__fish_seen_subcommand_from dns' -l zone
    for option in auth client from helo name service to
        complete -c $name -n '__fish_seen_subcommand_from explain' -l $option -x
    end
    complete -c $name -n '__postern_at 2 greylist' -a 'allow disallow list stats'
    complete -c $name -n '__postern_at 2 quota' -a 'list reset'
    complete -c $name -n '__postern_at 2 report' -a 'dmarc tls'
    for option in collected send svg
        complete -c $name -n '__fish_seen_subcommand_from report' -l $option
    end
    for option in check scheme
        complete -c $name -n '__fish_seen_subcommand_from password' -l $option -x
    end
    complete -c $name -n '__postern_at 2 tls' -a 'all-default-client all-default-server deploy-server-cert enable-client enable-server new-server-cert new-server-key output-server-csr output-server-tlsa test'
end

complete -c postconf -f
complete -c postconf -n '__fish_contains_opt -s M -s F -s P' -a '(__postern_services)'
complete -c postconf -n 'not __fish_contains_opt -s M -s F -s P' -a '(__postern_parameters)'
for letter in a A d e f F h H j l m M n p P v x X
    complete -c postconf -s $letter
end
complete -c postconf -s c -r
complete -c postconf -s C -x -a 'builtin service user all'
complete -c postconf -s o -x
complete -c postconf -s T -x -a 'compile-version run-version public-key-algorithms'

complete -c postsuper -f -a 'ALL (__postern_ids)'
for letter in d e f h H r
    complete -c postsuper -s $letter -x -a 'ALL (__postern_ids)'
end
for letter in p s S
    complete -c postsuper -s $letter -f -a 'maildrop incoming active deferred hold'
end
complete -c postcat -f -a '(__postern_ids)'
for letter in b d e f h o q r s v
    complete -c postcat -s $letter
end
complete -c postqueue -f
for letter in f j p v
    complete -c postqueue -s $letter
end
complete -c postqueue -s i -x -a '(__postern_ids)'
complete -c postqueue -s s -x
for name in postmap postalias
    complete -c $name -f -a '(__postern_tables)'
    for letter in b d f F h i j m n N o p q r s u v w
        complete -c $name -s $letter
    end
end
complete -c postmulti -f
for letter in a l p R v x
    complete -c postmulti -s $letter
end
complete -c postmulti -n '__postern_after -p' -a 'abort check flush reload start status stop'
complete -c postmulti -s e -x -a 'assign create deport destroy disable enable import init'
complete -c postmulti -s i -x -a '(__postern_instances)'
complete -c postmulti -s g -x
complete -c postmulti -s G -x
complete -c postmulti -s I -x
complete -c qshape -f -a 'incoming active deferred hold maildrop'
for letter in l p s
    complete -c qshape -s $letter
end
