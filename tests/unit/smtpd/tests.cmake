postern_unit_test(smtpd LINK part_smtpd postern_daemon)
postern_fuzzer(policy_reply LINK part_smtpd postern_daemon)
postern_fuzzer(smtpd_session LINK part_smtpd postern_daemon)
