"""What a rule can do: each action a module of its own. They ask the actuator; they write nothing."""
