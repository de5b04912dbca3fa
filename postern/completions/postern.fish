# fish completion.

function __postern_parameters
    postconf -dH 2>/dev/null
end

function __postern_ids
    postqueue -j 2>/dev/null | string match -rg '"queue_id": "([^"]*)"'
end

for name in postern postfix
    complete -c $name -n __fish_use_subcommand -f -a 'abort ban check config explain flush greylist logrotate password queue reload set-permissions start start-fg status stop upgrade-configuration why'
    complete -c $name -n '__fish_seen_subcommand_from config' -f -a 'diff get man set undo unset (__postern_parameters)'
    complete -c $name -n '__fish_seen_subcommand_from queue' -f -a 'delete expire hold list release retry show (__postern_ids)'
    for option in all domain dry-run group json larger older queue reason recipient sender smaller younger
        complete -c $name -n '__fish_seen_subcommand_from queue' -l $option
    end
    complete -c $name -n '__fish_seen_subcommand_from why' -f -a '(__postern_ids)'
    complete -c $name -n '__fish_seen_subcommand_from why' -l json
    complete -c $name -n '__fish_seen_subcommand_from check' -l json
    complete -c $name -n '__fish_seen_subcommand_from check' -l strict
end
complete -c postconf -f -a '(__postern_parameters)'
complete -c postsuper -f -a '(__postern_ids)'
complete -c postcat -f -a '(__postern_ids)'
