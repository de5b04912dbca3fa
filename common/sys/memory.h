// memory.h - what a process holds of the machine's memory while it waits.

#pragma once

namespace postern::sys {

// Gives back what the start has taken and nobody will ask for soon: free pieces of the heap, and
// the pages of this program's code, which come back from the page cache, a few at a time, when they
// are run again. A dozen daemons wait with little to do.
void release_after_start();

}  // namespace postern::sys
