// See noproviders.c: nothing here is called.
#pragma once
