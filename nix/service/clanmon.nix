# The clan service "clanmon".
import ./service.nix { older = false; }
