postern_unit_test(policy LINK postern_policy)
