// See core.c: it has nothing for callers, only for the linker.
#pragma once
