// explain.h - postern explain: what the restriction lists make of a client and an envelope.

#pragma once

namespace postern::control {

// --client ADDRESS --helo NAME --from ADDRESS --to ADDRESS [--auth USER] [--name NAME]
// [--service NAME]: 0 when the mail would be taken, 1 when not or when it cannot be told.
int explain_main(int argc, char** argv);

}  // namespace postern::control
