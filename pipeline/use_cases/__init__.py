"""The actions of users and operators. The API controllers and the operator's commands call them."""
