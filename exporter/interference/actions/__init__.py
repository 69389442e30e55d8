"""What a rule can do, a module per action. They ask the actuator; they write nothing."""
