postern_unit_test(agent LINK postern_agent)
