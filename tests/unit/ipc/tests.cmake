postern_unit_test(ipc LINK postern_ipc)
postern_fuzzer(ipc_frame LINK postern_ipc)
